"""The training recipe: everything that decides what a training run does, typed and frozen."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.errors import SettingsError
from core.settings import Settings, validate
from media.spec import InputSpec
from models.family import FAMILIES, Family
from tasks.settings import SamplingSettings
from tasks.task import TASKS

# Keys that change how fast or how safely a run goes, but not the weights it reaches: a run may be resumed with other
# values of these. Every other key must be equal.
HARMLESS_KEYS = frozenset(
    {"nodes", "processes", "workers", "prefetch", "keep_last", "checkpoint_every_steps", "log_every_steps"}
)


class OptimizerSettings(Settings):
    """The optimizer."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """Which one."""
    lr: float = Field(default=1e-4, gt=0)
    """Learning rate, the highest of the schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov momentum; read by ``sgd`` alone."""


class ScheduleSettings(Settings):
    """The learning rate over time."""

    name: Literal["cosine", "plateau", "constant"] = "cosine"
    """``cosine`` falls from ``optimizer.lr`` to ``min_lr`` over all epochs; ``plateau`` multiplies by ``factor`` when
    the monitored metric has not improved for more than ``patience`` epochs; ``constant`` stays."""
    interval: Literal["epoch", "step"] = "epoch"
    """Whether cosine and warm-up move at every epoch or at every optimizer step."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the rate rises linearly at first; they count as part of the whole."""
    warmup_factor: float = Field(default=0.1, gt=0, le=1)
    """Warm-up begins at this share of ``optimizer.lr``."""
    min_lr: float = Field(default=0.0, ge=0)
    """The lowest rate of ``cosine`` and ``plateau``."""
    patience: int = Field(default=3, ge=0)
    """Epochs without an improvement that ``plateau`` waits for."""
    factor: float = Field(default=0.5, gt=0, lt=1)
    """What ``plateau`` multiplies the rate by."""


class EarlyStoppingSettings(Settings):
    """When to stop before the last epoch."""

    patience: int = Field(ge=1)
    """Epochs in a row without an improvement."""
    min_delta: float = Field(default=0.0, ge=0)
    """By more than how much the monitored metric must be better to count as improved."""


class MonitorSettings(Settings):
    """By which validation metric the best epoch is chosen."""

    metric: str
    """Name of the metric, as the task's validation gives it."""
    mode: Literal["max", "min"] = "max"
    """Whether more or less of it is better."""
    max_authentic_fpr: float | None = Field(default=0.05, ge=0, le=1)
    """Epochs whose ``authentic_fpr`` exceeds this lose to those that keep under it, whatever their metric; while none
    does, the one with the lowest ``authentic_fpr`` leads. Null sets no ceiling."""


class TrainRecipe(Settings):
    """A training run."""

    member: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The variant's name; with ``stage`` it names the checkpoint and the run's place in the state."""
    stage: str = Field(default="first", pattern=r"^[A-Za-z0-9]+$")
    """Which of the member's trainings this is."""
    base_stage: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]+$")
    """Which stage the base checkpoint is of, that this one needs; null for a stage that needs none."""
    family: str
    """The model family."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Settings of the network, of the family's own class."""
    loss: dict[str, Any] = Field(default_factory=dict)
    """Settings of the loss, of the family's own class."""
    input: InputSpec
    """How stored samples become the network's input."""
    policy: str
    """Name of the augmentation policy (``media.transforms``)."""
    batch_size: int = Field(default=4, ge=1)
    """Samples of a forward pass, over all processes together, so that the number of processes changes neither the
    samples seen nor the gradient; must be divisible by ``nodes`` × ``processes``."""
    accumulate: int = Field(default=1, ge=1)
    """Forward passes of an optimizer step, which sees ``batch_size * accumulate`` samples."""
    epochs: int = Field(default=25, ge=1)
    """How many at most."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """How often each training sample is drawn: settings of the class of the family's task."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Which optimizer, and how fast it learns."""
    schedule: ScheduleSettings = ScheduleSettings()
    """How the learning rate changes over the epochs."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto`` is bf16 on a GPU that has it, fp16 with a gradient scaler on one that has not, and fp32 on a CPU; bf16
    on a CPU is taken when asked for."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient over all parameters; null does not clip."""
    channels_last: bool = True
    """Keep channels innermost in memory, which convolutions on most devices prefer."""
    compile: bool = False
    """Compile the network with ``torch.compile``."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the exponential moving average of the weights (warmed up); null keeps no average. With an average it is
    the averaged weights that are validated and kept."""
    early_stopping: EarlyStoppingSettings | None = None
    """When to stop before the last epoch; null never does."""
    freeze: tuple[str, ...] = ()
    """Shell-style patterns of parameter names that are not trained, such as ``encoder.*``."""
    monitor: MonitorSettings
    """How the best epoch is chosen."""
    seed: int = Field(default=0, ge=0)
    """Of everything that is drawn."""
    deterministic: bool = False
    """Only deterministic operations; an operation that has no such form is an error."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` is a GPU where there is one."""
    nodes: int = Field(default=1, ge=1)
    """Machines, or pods, that the step is started on; with several, something must start it on each (see
    docs/operations.md). A run may go on with another number."""
    processes: int = Field(default=1, ge=1)
    """Data-parallel processes on each node, one a GPU where there are GPUs. A run may go on with another number."""
    workers: int = Field(default=2, ge=0)
    """Data loading processes of each training process; 0 loads in the training process."""
    prefetch: int = Field(default=4, ge=1)
    """Batches that each data loading process keeps ready."""
    validate_batch_size: int = Field(default=8, ge=1)
    """Tiles, faces or other items of a forward pass in validation."""
    keep_last: int = Field(default=2, ge=1)
    """How many step checkpoints are kept beside the best one."""
    checkpoint_every_steps: int = Field(default=200, ge=1)
    """Optimizer steps between two step checkpoints; one is written at every epoch's end too."""
    log_every_steps: int = Field(default=20, ge=1)
    """Optimizer steps between two readings of the loss on a GPU (each waits for the device)."""

    @property
    def name(self) -> str:
        """``<member>_<stage>``, the run's name."""
        return f"{self.member}_{self.stage}"

    @property
    def parsed_family(self) -> Family:
        """The family that ``family`` names."""
        return FAMILIES.get(self.family)

    @property
    def parsed_model(self) -> Settings:
        """``model`` as the family's settings."""
        return validate(self.parsed_family.settings, self.model, "model")

    @property
    def parsed_loss(self) -> Settings:
        """``loss`` as the settings of the family's loss."""
        return validate(self.parsed_family.loss_settings, self.loss, "loss")

    @property
    def parsed_sampling(self) -> SamplingSettings:
        """``sampling`` as the settings of the family's task."""
        return validate(TASKS.get(self.parsed_family.task).sampling, self.sampling, "sampling")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % (self.nodes * self.processes):
            raise ValueError(
                f"batch_size = {self.batch_size} counts the samples of all processes together and must be divisible "
                f"by nodes = {self.nodes} times processes = {self.processes}"
            )
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(f"schedule.warmup_epochs = {self.schedule.warmup_epochs} exceeds epochs = {self.epochs}")
        try:
            self.parsed_family.require_input(self.parsed_model, self.input)
            _ = self.parsed_loss, self.parsed_sampling
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self


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
