"""Faces: whether a face in a video or picture was manipulated, in which frames, and where it looks so."""

from core.lazy import Lazy
from tasks.faces.card import CARD
from tasks.faces.settings import FacesEvaluate, FacesExport, FacesGate, FacesSampling
from tasks.task import GateFigure, Task, ValFigure

TASK = Task(
    name="faces",
    sampling=FacesSampling,
    evaluate_settings=FacesEvaluate,
    export_settings=FacesExport,
    gate_settings=FacesGate,
    gate_figures=(
        GateFigure("auc", "min_auc"),
        GateFigure("tpr", "min_tpr"),
        GateFigure("authentic_fpr", "max_authentic_fpr", higher_is_better=False),
        # An AUC on clean media hides it, so that it is held against the current release's too.
        GateFigure("robustness", "robustness_floor"),
    ),
    card=CARD,
    training_samples=Lazy("tasks.faces.training:training_samples"),
    validate=Lazy("tasks.faces.validation:validate"),
    evaluate=Lazy("tasks.faces.evaluation:evaluate"),
    release_figures=Lazy("tasks.faces.release:release_figures"),
    fit=Lazy("tasks.faces.fitting:fit"),
    probe=Lazy("tasks.faces.probing:probe"),
    val_figure=ValFigure("auc", Lazy("tasks.faces.val_figure:measure")),
)
