"""What a publication can be told."""

from typing import Literal

from pydantic import Field

from core.settings import Settings


class GateSettings(Settings):
    """What a release must reach on the test split; None asks for nothing.

    A figure that a limit is set for and that was not measured does not pass. Limits of the other task do not count.

    Attributes:
        min_f1: least F1 on forged pictures, 0..1; of networks that mark regions.
        min_auc: least AUC over media, 0..1; of classifiers.
        min_tpr: least share of manipulated media called so, 0..1; of classifiers.
        max_authentic_fpr: largest share of authentic pictures or media called forged, 0..1.
        robustness_floor: least share of F1, or of AUC above chance, that is left under the worst degradation, 0..1.
        margin: by how much F1, or AUC and true-positive rate, and the false-positive rate and what is left under
            degradations may be worse than the current release's, 0..1.
    """

    min_f1: float | None = Field(default=0.3, ge=0, le=1)
    min_auc: float | None = Field(default=0.8, ge=0, le=1)
    min_tpr: float | None = Field(default=None, ge=0, le=1)
    max_authentic_fpr: float | None = Field(default=0.1, ge=0, le=1)
    robustness_floor: float | None = Field(default=0.5, ge=0)
    margin: float | None = Field(default=0.02, ge=0, le=1)


class PublishRecipe(Settings):
    """Recipe of the publish step.

    Attributes:
        evaluation_group: group of the evaluation whose figures are the bundle's.
        gate: what the release must reach.
        on_refusal: ``fail`` makes a refused release an error; ``record`` only writes the decision.
        attempts: how often to judge and move the pointer again when another publication moved it first.
    """

    evaluation_group: str = "v4"
    gate: GateSettings = GateSettings()
    on_refusal: Literal["fail", "record"] = "fail"
    attempts: int = Field(default=5, ge=1)
