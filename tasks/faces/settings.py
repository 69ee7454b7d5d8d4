"""What recipes say of the steps of classifiers of faces, beside what all tasks share."""

from typing import Literal, Self

from pydantic import Field, model_validator

from bundle.document import Name
from media.selfblend.settings import PseudoFakeSettings
from tasks.settings import EvaluateSettings, ExportSettings, FitSettings, GateSettings, SamplingSettings

ThresholdRule = Literal["ceiling", "balanced_accuracy"]


class FacesSampling(SamplingSettings):
    """How often each training face is drawn (weighted, with replacement).

    A track, the unit that a network of clips draws, has the weight of its heaviest row.
    """

    pseudo_fakes: PseudoFakeSettings | None = None
    """Turns authentic faces into self-blended pseudo-fakes, which count as manipulated; null makes none."""

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


class FacesFit(FitSettings):
    """What is fitted for classifiers of faces."""

    threshold: ThresholdRule = "ceiling"
    """``ceiling`` takes the highest balanced accuracy under ``max_authentic_fpr``, ``balanced_accuracy`` the highest of
    all."""


class FacesEvaluate(FacesFit, EvaluateSettings):
    """How classifiers of faces are evaluated."""

    heatmaps: int = Field(default=200, ge=0)
    """Authentic test faces that are made pseudo-fakes to evaluate heatmaps on; 0 evaluates none."""


class FacesExport(FacesFit, ExportSettings):
    """What an export of classifiers of faces fits and writes."""

    name: Name = "faces"
    """Of the bundle; releases of one name replace each other."""


class FacesGate(GateSettings):
    """What a release must reach on the test split; null asks for nothing."""

    min_auc: float | None = Field(default=0.8, ge=0, le=1)
    """Least AUC over media, 0..1."""
    min_tpr: float | None = Field(default=None, ge=0, le=1)
    """Least share of manipulated media called so, 0..1."""
