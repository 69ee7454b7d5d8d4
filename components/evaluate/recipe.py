"""The recipe of the evaluation."""

from pydantic import Field, field_validator

from core.errors import SettingsError
from core.settings import Settings
from judging.bootstrap import Bootstrap
from judging.media_calibration import ThresholdRule
from judging.settings import JudgingSettings
from judging.statistics import MIN_AREAS
from media.degrade import DEGRADATIONS, degradation


class MemberSettings(Settings):
    """A member's calibration and its share in its group's ensemble."""

    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)


class EvaluateRecipe(Settings):
    """How models are judged.

    Attributes:
        judging: device, precision and batch.
        threshold: of classifiers: ``ceiling`` takes the highest balanced accuracy under the ceiling that follows,
            ``balanced_accuracy`` the highest of all.
        max_authentic_fpr: ceiling on the share of authentic val pictures or media called forged, 0..1, under which the
            operating points are chosen.
        min_areas: minimum forged areas to choose among, as fractions of a picture; of networks that mark regions.
        calibrate: fit classifiers' temperatures on val, as the export does.
        fit_weights: fit the weights of classifiers' ensembles on val, as the export does.
        bootstrap: how intervals are drawn.
        degradations: names of what test pictures also go through, for the robustness curve.
        recalls: recalls on val at which false positives are compared, beside the first group's own recall; of networks
            that mark regions.
        gallery: pictures shown of each kind (best, worst, false alarms).
        heatmaps: authentic test faces that are made pseudo-fakes to judge heatmaps on; 0 judges none.
        members: by group and member's name; those not named have weight and temperature 1, or what is fitted.
    """

    judging: JudgingSettings = JudgingSettings()
    threshold: ThresholdRule = "ceiling"
    max_authentic_fpr: float = Field(default=0.05, ge=0, le=1)
    min_areas: tuple[float, ...] = Field(default=MIN_AREAS, min_length=1)
    calibrate: bool = True
    fit_weights: bool = True
    bootstrap: Bootstrap = Bootstrap()
    degradations: tuple[str, ...] = DEGRADATIONS
    recalls: tuple[float, ...] = (0.5, 0.7, 0.9)
    gallery: int = Field(default=8, ge=0, le=100)
    heatmaps: int = Field(default=200, ge=0)
    members: dict[str, dict[str, MemberSettings]] = {}

    @field_validator("degradations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                degradation(name)
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return names
