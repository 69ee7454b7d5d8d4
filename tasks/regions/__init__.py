"""Regions: which pixels of a photograph were forged, and whether the photograph as a whole counts as forged."""

from core.lazy import Lazy
from tasks.regions.card import CARD
from tasks.regions.settings import RegionsEvaluate, RegionsExport, RegionsGate, RegionsSampling, RegionsSweep
from tasks.task import GateFigure, Task, ValFigure

TASK = Task(
    name="regions",
    sampling=RegionsSampling,
    evaluate_settings=RegionsEvaluate,
    export_settings=RegionsExport,
    gate_settings=RegionsGate,
    gate_figures=(
        GateFigure("f1", "min_f1"),
        GateFigure("authentic_fpr", "max_authentic_fpr", higher_is_better=False),
        GateFigure("robustness", "robustness_floor", compared=False),
    ),
    card=CARD,
    training_samples=Lazy("tasks.regions.training:training_samples"),
    validate=Lazy("tasks.regions.validation:validate"),
    evaluate=Lazy("tasks.regions.evaluation:evaluate"),
    release_figures=Lazy("tasks.regions.release:release_figures"),
    fit=Lazy("tasks.regions.fitting:fit"),
    probe=Lazy("tasks.regions.probing:probe"),
    val_figure=ValFigure("f1", Lazy("tasks.regions.val_figure:measure")),
    sweep_settings=RegionsSweep,
    sweep=Lazy("tasks.regions.sweep:sweep"),
)
