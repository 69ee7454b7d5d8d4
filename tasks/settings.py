"""What recipes say of the steps that differ by task: what all tasks share; each task adds keys of its own."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from bundle.document import Format, Name
from core.errors import SettingsError
from core.settings import Settings
from judging.bootstrap import Bootstrap
from judging.settings import InferenceSettings
from media.degrade import DEGRADATIONS, degradation


class SamplingSettings(Settings):
    """How often each training sample is drawn (weighted, with replacement)."""

    bands: tuple[tuple[float, float], ...] = Field(default=((0.01, 3.0), (0.05, 2.0), (1.0, 1.0)), min_length=1)
    """Pairs of an upper bound of the forged fraction (0..1) and a weight, in rising order: a manipulated sample gets
    the weight of the first band whose bound lies above its forged fraction, or the last band's."""
    authentic: float = Field(default=1.0, ge=0)
    """Weight of an authentic sample; 0 leaves all but hard negatives out, as the published second stage of the forgery
    family does."""
    hard_negative: float = Field(default=5.0, ge=0)
    """Weight of an authentic sample that is named as a hard negative."""
    balanced: bool = False
    """Scale the weights so that half of all draws show something authentic, whatever the data set holds."""
    samples_per_epoch: int | None = Field(default=None, ge=1)
    """Draws in an epoch, rounded up to whole optimizer steps; null for as many as there are units to draw."""

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        bounds = [bound for bound, _ in self.bands]
        if bounds != sorted(set(bounds)):
            raise ValueError(f"the bounds of bands must rise, got {bounds}")
        if any(weight < 0 for _, weight in self.bands):
            raise ValueError("the weights of bands must not be negative")
        return self

    @property
    def authentic_share(self) -> float:
        """The share of draws that ``balanced`` gives to authentic samples, 0..1."""
        return 0.5


class FitSettings(Settings):
    """What is fitted and chosen on val, and how val is predicted: the same for an export and for an evaluation, which
    fits the models of earlier stages as their export would.
    """

    inference: InferenceSettings = InferenceSettings()
    """Device, precision and batch."""
    calibrate: bool = True
    """Fit a temperature for each member; else all are 1."""
    fit_weights: bool = True
    """Fit the weights of the ensemble; else all are equal."""
    seed: int = Field(default=0, ge=0)
    """Of what is drawn to fit on."""
    max_authentic_fpr: float = Field(default=0.05, ge=0, le=1)
    """Ceiling on the share of authentic val media called manipulated, 0..1, under which operating points are chosen."""


class EvaluateSettings(FitSettings):
    """How a bundle and the models of earlier stages are evaluated.

    What is fitted for earlier stages a pipeline takes from the settings of its export, unless given here.
    """

    runtime: Format | None = None
    """What a bundle is judged through; null takes ONNX Runtime on a CPU and TorchScript on a GPU where the bundle holds
    it, else what it holds."""
    bootstrap: Bootstrap = Bootstrap()
    """How intervals are drawn."""
    degradations: tuple[str, ...] = DEGRADATIONS
    """Names of what test media also go through, for the robustness curve."""
    gallery: int = Field(default=8, ge=0, le=100)
    """Pictures shown of each kind (best, worst, false alarms)."""

    @field_validator("degradations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                degradation(name)
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return names


class ParitySettings(Settings):
    """How closely an exported network must follow the trained one, on real inputs of val.

    The defaults leave room for what another order of float32 sums does to logits of the size trained networks give
    (differences of 1e-5 to 1e-4 are seen), and for nothing that a person would notice in a mask.
    """

    batch_sizes: tuple[int, ...] = Field(default=(1, 4), min_length=2)
    """Two or more, to prove that the batch is free."""
    max_logit_difference: float = Field(default=1e-3, gt=0)
    """Largest absolute difference of any logit."""
    max_flipped_share: float = Field(default=1e-4, ge=0, le=1)
    """Largest share of logits that change sides of the member's threshold, 0..1."""
    max_heatmap_difference: float = Field(default=5e-3, gt=0)
    """Largest absolute difference of any cell of a heatmap, which is 0..1."""


class Int8Settings(Settings):
    """Networks in INT8 beside the float ones, and what they must reach to be written.

    A member that misses the gate is exported without, and the reason is noted in the bundle and its card. Speed is
    measured while exporting and noted too: with this key, two exports of the same models differ in that figure.
    """

    calibration_samples: int = Field(default=64, ge=1)
    """Pictures, or clips of faces, of val that the ranges of activations are taken from, spread evenly."""
    min_speedup: float = Field(default=1.6, ge=0)
    """Least throughput, as a multiple of that of the float ONNX on the CPU that exports."""
    max_loss: float = Field(default=0.005, ge=0, le=1)
    """Most that the task's figure on val (AUC of faces, F1 of regions) may be lower than the float ONNX's, for each
    member by itself and for the ensemble."""


class ExportSettings(FitSettings):
    """What an export fits and writes."""

    name: Name
    """Of the bundle; releases of one name replace each other."""
    version: Name | None = None
    """Null derives one from the commit and the content, so that equal versions mean equal bundles."""
    formats: tuple[Format, ...] = Field(default=("torchscript", "onnx"), min_length=1)
    """What each member is written as."""
    opset: int = Field(default=18, ge=18, le=23)
    """Of ONNX."""
    int8: Int8Settings | None = None
    """Write networks in INT8 too, for servers that ask for them (``{}`` for the defaults below); null writes none.
    Needs the format ``onnx``."""
    parity: ParitySettings = ParitySettings()
    """The gate that a bundle must pass to be written."""
    description: str | None = None
    """One paragraph for the model card; null says what networks of the task do."""
    licence: str = "Apache-2.0"
    """Of the weights, for the model card."""
    limits: tuple[str, ...] | None = None
    """Known limits, for the model card; null says those of the task."""

    @model_validator(mode="after")
    def _check_int8(self) -> Self:
        if self.int8 is not None and "onnx" not in self.formats:
            raise ValueError(f"int8 is made from the format onnx, which formats = {', '.join(self.formats)} leaves out")
        return self


class SweepSettings(Settings):
    """What counts as a hard negative, and how the operating point is chosen."""

    inference: InferenceSettings = InferenceSettings()
    """Device, precision and batch."""
    max_authentic_fpr: float = Field(default=0.05, ge=0, le=1)
    """Ceiling on the share of authentic val media called manipulated, 0..1."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many hard negatives, the hardest; null keeps all."""
    gallery: int = Field(default=24, ge=0, le=500)
    """Pictures shown in the report."""
    parts: int = Field(default=1, ge=1, le=1000)
    """Tasks that share the search before the one that makes the list; 1 does it all in one. Any number gives the same
    list."""


class GateSettings(Settings):
    """What a release must reach on the test split; null asks for nothing.

    A figure that a limit is set for and that was not measured does not pass.
    """

    max_authentic_fpr: float | None = Field(default=0.1, ge=0, le=1)
    """Largest share of authentic media called manipulated, 0..1."""
    robustness_floor: float | None = Field(default=0.5, ge=0)
    """Least share that is left under the worst degradation, 0..1."""
    margin: float | None = Field(default=0.02, ge=0, le=1)
    """By how much figures may be worse than the current release's, 0..1."""
