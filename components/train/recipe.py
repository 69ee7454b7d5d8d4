"""The training recipe: everything that decides what a training run does, typed and frozen."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.errors import SettingsError
from core.settings import Settings, validate
from media.selfblend.settings import PseudoFakeSettings
from media.spec import InputSpec
from models.family import Family
from models.registry import get_family

# Keys that change how fast or how safely a run goes, but not the weights it reaches: a run may be resumed with other
# values of these. Every other key must be equal.
HARMLESS_KEYS = frozenset({"workers", "prefetch", "keep_last", "checkpoint_every_steps", "log_every_steps"})


class SamplingSettings(Settings):
    """How often each training sample is drawn (weighted, with replacement).

    ``bands`` are pairs of an upper bound of the forged fraction (0..1) and a weight, in rising order: a manipulated
    sample gets the weight of the first band whose bound lies above its forged fraction, or the last band's.
    ``authentic`` is the weight of an authentic sample, ``hard_negative`` that of an authentic sample named as a hard
    negative. A track, the unit that a network of clips draws, has the weight of its heaviest row. ``balanced`` scales
    the weights so that half of all draws show something authentic and half something manipulated, pseudo-fakes among
    it, whatever the data set holds of each. ``pseudo_fakes`` turns authentic faces into self-blended pseudo-fakes, for
    classifiers of faces alone; None makes none. ``samples_per_epoch`` is the number of draws in an epoch, the size of
    the train split (for clips its tracks) when None; it is rounded up to whole optimizer steps.
    """

    bands: tuple[tuple[float, float], ...] = Field(default=((0.01, 3.0), (0.05, 2.0), (1.0, 1.0)), min_length=1)
    authentic: float = Field(default=1.0, ge=0)
    hard_negative: float = Field(default=5.0, ge=0)
    balanced: bool = False
    pseudo_fakes: PseudoFakeSettings | None = None
    samples_per_epoch: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        bounds = [bound for bound, _ in self.bands]
        if bounds != sorted(set(bounds)):
            raise ValueError(f"the bounds of bands must rise, got {bounds}")
        if any(weight < 0 for _, weight in self.bands):
            raise ValueError("the weights of bands must not be negative")
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        fakes = self.pseudo_fakes
        if self.balanced and fakes is not None and fakes.real_fakes and fakes.probability >= 0.5:
            raise ValueError(
                f"pseudo_fakes.probability = {fakes.probability} leaves no room for real fakes in a balanced half: "
                "give less than 0.5, or real_fakes: false"
            )
        return self

    @property
    def authentic_share(self) -> float:
        """The share of draws that ``balanced`` gives to authentic samples, so that half stay authentic; 0..1."""
        fakes = self.pseudo_fakes
        if fakes is None:
            return 0.5
        return 0.5 / (1 - fakes.probability) if fakes.real_fakes else 1.0


class OptimizerSettings(Settings):
    """The optimizer; ``momentum`` (Nesterov) is read by ``sgd`` alone."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class ScheduleSettings(Settings):
    """The learning rate over time.

    ``cosine`` falls from ``optimizer.lr`` to ``min_lr`` over all epochs; ``plateau`` multiplies by ``factor`` when the
    monitored metric has not improved for more than ``patience`` epochs; ``constant`` stays. ``interval`` says whether
    cosine and warm-up move at every epoch or at every optimizer step. Warm-up rises linearly from ``warmup_factor`` ×
    lr to lr over the first ``warmup_epochs`` epochs, which count as part of the whole.
    """

    name: Literal["cosine", "plateau", "constant"] = "cosine"
    interval: Literal["epoch", "step"] = "epoch"
    warmup_epochs: float = Field(default=0.0, ge=0)
    warmup_factor: float = Field(default=0.1, gt=0, le=1)
    min_lr: float = Field(default=0.0, ge=0)
    patience: int = Field(default=3, ge=0)
    factor: float = Field(default=0.5, gt=0, lt=1)


class EarlyStoppingSettings(Settings):
    """Stop after ``patience`` epochs in a row without an improvement by more than ``min_delta``."""

    patience: int = Field(ge=1)
    min_delta: float = Field(default=0.0, ge=0)


class MonitorSettings(Settings):
    """By which validation metric the best epoch is chosen.

    Epochs whose ``authentic_fpr`` exceeds ``max_authentic_fpr`` lose to those that keep under it, whatever their
    metric; while none does, the one with the lowest ``authentic_fpr`` leads. None sets no ceiling.
    """

    metric: str = "f1"
    mode: Literal["max", "min"] = "max"
    max_authentic_fpr: float | None = Field(default=0.05, ge=0, le=1)


class TrainRecipe(Settings):
    """A training run.

    Attributes:
        member: the variant's name; with ``generation`` it names the checkpoint and the run's place in the state.
        base_generation: which generation a base checkpoint is of; a run of another generation needs one.
        family: the model family; ``model`` and ``loss`` are validated by its own settings.
        input: how stored pixels become the network's input.
        policy: name of the augmentation policy (``media.transforms``).
        batch_size: samples a forward pass, over all processes together, so that the number of processes changes
            neither the samples seen nor the gradient; it must be divisible by ``processes``.
        accumulate: forward passes an optimizer step; a step sees ``batch_size * accumulate`` samples.
        precision: ``auto`` is bf16 on a GPU that has it, fp16 with a gradient scaler on one that has not, and fp32 on
            a CPU; bf16 on a CPU is taken when asked for.
        clip_norm: largest norm of the gradient over all parameters; None does not clip.
        ema_decay: decay of the exponential moving average of the weights (warmed up); None keeps no average. With an
            average it is the averaged weights that are validated and kept.
        freeze: shell-style patterns of parameter names that are not trained, such as ``encoder.*``.
        keep_last: how many step checkpoints are kept beside the best one.
        checkpoint_every_steps: optimizer steps between two step checkpoints; one is written at every epoch's end too.
        log_every_steps: optimizer steps between two readings of the loss on a GPU (each waits for the device).
        processes: data-parallel processes on this machine, one a GPU where there are GPUs.
        workers: data loading processes of each training process; 0 loads in the training process.
        prefetch: batches each data loading process keeps ready.
        deterministic: only deterministic operations; an operation that has no such form is an error.
    """

    member: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    generation: str = Field(default="v3", pattern=r"^[A-Za-z0-9]+$")
    base_generation: str = Field(default="v3", pattern=r"^[A-Za-z0-9]+$")
    family: str = "forgery"
    model: dict[str, Any] = Field(default_factory=dict)
    loss: dict[str, Any] = Field(default_factory=dict)
    input: InputSpec = InputSpec()
    policy: str = "forgery"
    batch_size: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    epochs: int = Field(default=25, ge=1)
    sampling: SamplingSettings = SamplingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    clip_norm: float | None = Field(default=None, gt=0)
    channels_last: bool = True
    compile: bool = False
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    early_stopping: EarlyStoppingSettings | None = None
    freeze: tuple[str, ...] = ()
    monitor: MonitorSettings = MonitorSettings()
    seed: int = Field(default=0, ge=0)
    deterministic: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: int = Field(default=1, ge=1)
    workers: int = Field(default=2, ge=0)
    prefetch: int = Field(default=4, ge=1)
    validate_batch_size: int = Field(default=8, ge=1)
    keep_last: int = Field(default=2, ge=1)
    checkpoint_every_steps: int = Field(default=200, ge=1)
    log_every_steps: int = Field(default=20, ge=1)

    @property
    def name(self) -> str:
        """``<member>_<generation>``, the run's name."""
        return f"{self.member}_{self.generation}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size = {self.batch_size} counts the samples of all processes together and must be divisible "
                f"by processes = {self.processes}"
            )
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(f"schedule.warmup_epochs = {self.schedule.warmup_epochs} exceeds epochs = {self.epochs}")
        self._check_family()
        return self

    def _check_family(self) -> None:
        try:
            family = get_family(self.family)
            _check_view(family, self.input)
            if self.sampling.pseudo_fakes is not None and family.task != "classification":
                raise SettingsError(
                    f"sampling.pseudo_fakes are faces: family {family.name} is no classifier; leave out"
                )
            family.check_input(validate(family.settings, self.model, "model"), self.input)
            validate(family.loss_settings, self.loss, "loss")
        except SettingsError as error:
            raise ValueError(str(error)) from None


def _check_view(family: Family, given: InputSpec) -> None:
    """Refuse a view that is not how the family's task is trained and judged, and clips for networks of pictures.

    Raises:
        SettingsError: naming the key, its value and what is allowed.
    """
    allowed = ("whole", "centre") if family.task == "classification" else ("tiles",)
    if given.view not in allowed:
        raise SettingsError(
            f"input.view = {given.view!r}: family {family.name} (task {family.task}) needs {' or '.join(allowed)}"
        )
    if given.frames > 1 and not family.clips:
        raise SettingsError(f"input.frames = {given.frames}: family {family.name} judges single pictures, so 1")


def differing_keys(left: dict[str, Any], right: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys at which two recipes (as JSON) differ, each with both values; harmless keys left out."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(left.keys() | right.keys()):
        a, b = left.get(key), right.get(key)
        if a == b or (not prefix and key in HARMLESS_KEYS):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            found |= differing_keys(a, b, f"{prefix}{key}.")
        else:
            found[prefix + key] = (a, b)
    return found
