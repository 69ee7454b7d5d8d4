"""The task ``shade``: is a picture, as a whole, of the second class? One probability a picture, nothing marked."""

from pydantic import Field

from core.lazy import Lazy
from tasks.settings import EvaluateSettings, ExportSettings, GateSettings, SamplingSettings
from tasks.task import CardTexts, GateFigure, Task


class ShadeGate(GateSettings):
    """What a release must reach."""

    min_accuracy: float | None = Field(default=0.0, ge=0, le=1)
    """Least share of pictures that are called rightly, 0..1."""


TASK = Task(
    name="shade",
    sampling=SamplingSettings,
    evaluate_settings=EvaluateSettings,
    export_settings=ExportSettings,
    gate_settings=ShadeGate,
    gate_figures=(
        GateFigure("accuracy", "min_accuracy"),
        GateFigure("authentic_fpr", "max_authentic_fpr", higher_is_better=False),
    ),
    card=CardTexts(
        description="Says of which class a picture is.",
        how="A picture is scaled to a thumbnail.",
        limits=("It looks at colours alone.",),
        medium="picture",
        robustness="accuracy",
        decision=lambda decision: f"A picture counts as of the second class from {decision.threshold:g} on.",
    ),
    training_samples=Lazy("tasks.shade.work:training_samples"),
    validate=Lazy("tasks.shade.work:validate"),
    evaluate=Lazy("tasks.shade.work:evaluate"),
    release_figures=Lazy("tasks.shade.release:release_figures"),
    fit=Lazy("tasks.shade.work:fit"),
    probe=Lazy("tasks.shade.work:probe"),
)
