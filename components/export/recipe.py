"""What an export can be told."""

from pydantic import Field

from bundle import Format
from bundle.document import Name
from core.settings import Settings
from judging.media_calibration import ThresholdRule
from judging.settings import JudgingSettings
from judging.statistics import MIN_AREAS


class ParitySettings(Settings):
    """How closely an exported network must follow the eager one, on real tiles or faces of val.

    The defaults leave room for what another order of float32 sums does to logits of the size trained networks give
    (differences of 1e-5 to 1e-4 are seen), and for nothing that a person would notice in a mask.

    Attributes:
        batch_sizes: two or more, to prove that the batch is free.
        max_logit_difference: largest absolute difference of any logit.
        max_flipped_share: largest share of logits that change sides of the member's threshold, 0..1.
        max_heatmap_difference: largest absolute difference of any cell of a heatmap, which is 0..1.
    """

    batch_sizes: tuple[int, ...] = Field(default=(1, 4), min_length=2)
    max_logit_difference: float = Field(default=1e-3, gt=0)
    max_flipped_share: float = Field(default=1e-4, ge=0, le=1)
    max_heatmap_difference: float = Field(default=5e-3, gt=0)


class ExportRecipe(Settings):
    """Recipe of the export step.

    Attributes:
        name: of the bundle; releases of one name replace each other.
        version: None derives one from the commit and the content, so that equal versions mean equal bundles.
        formats: what each member is written as.
        opset: of ONNX.
        calibrate: fit a temperature for each member; else all are 1.
        fit_weights: fit the weights of the ensemble; else all are equal.
        pixels_per_picture: drawn from each val picture for both fits; of networks that mark regions.
        max_pixels: ceiling on all that are drawn; fewer are drawn from each picture where val is large.
        seed: of that draw.
        threshold: of classifiers: ``ceiling`` takes the highest balanced accuracy under the ceiling that follows,
            ``balanced_accuracy`` the highest of all.
        max_authentic_fpr: ceiling on the share of authentic val pictures or media called forged, 0..1.
        min_areas: forged area fractions to choose the operating point among; of networks that mark regions.
        parity: the gate that a bundle must pass to be written.
        judging: where and how fast val is judged.
        evaluation_group: group of an evaluation's metrics that the model card shows.
        description: one paragraph for the model card; None says what networks of the task do.
        licence: of the weights, for the model card.
        limits: known limits, for the model card; None says those of the task.
    """

    name: Name = "forgery"
    version: Name | None = None
    formats: tuple[Format, ...] = Field(default=("torchscript", "onnx"), min_length=1)
    opset: int = Field(default=18, ge=18, le=23)
    calibrate: bool = True
    fit_weights: bool = True
    pixels_per_picture: int = Field(default=4096, ge=2)
    max_pixels: int = Field(default=8_000_000, ge=2)
    seed: int = Field(default=0, ge=0)
    threshold: ThresholdRule = "ceiling"
    max_authentic_fpr: float = Field(default=0.05, ge=0, le=1)
    min_areas: tuple[float, ...] = Field(default=MIN_AREAS, min_length=1)
    parity: ParitySettings = ParitySettings()
    judging: JudgingSettings = JudgingSettings()
    evaluation_group: str = "v4"
    description: str | None = None
    licence: str = "Apache-2.0"
    limits: tuple[str, ...] | None = None
