"""The part of a bundle's card that is measured once it is written: its figures on test, and its members'."""

from judging.markdown import markdown_table, number
from tasks.evaluation import Evaluation
from tasks.task import ENSEMBLE, TASKS


def render_figures(name: str, evaluation: Evaluation) -> str:
    """Return the figures as Markdown.

    Args:
        name: of the bundle.
        evaluation: of it.
    """
    judged, texts = evaluation.bundle, TASKS.get(evaluation.task).card
    shown = judged.figures.shown
    owners = {ENSEMBLE: shown} | dict(judged.figures.members)
    rows = [[heading, *(number(figures.get(heading)) for figures in owners.values())] for heading in shown]
    if "robustness" in judged.figures.gate:
        left = f"{texts.robustness} left under the worst degradation"
        rows.append([left, number(judged.figures.gate["robustness"]), *([""] * (len(owners) - 1))])
    degraded = ", ".join(evaluation.degradations) or "none"
    return (
        f"# {name} {judged.version}: figures on test\n\nMeasured on the bundle with sha256 `{judged.sha256}`, run by "
        f"{judged.runtime}, with its own temperatures, weights and decisions; of each member by itself at its own "
        f"decision. Data set {evaluation.dataset}, test split, index sha256 `{evaluation.dataset_sha256}`. "
        f"Degradations: {degraded}.\n\n" + markdown_table(("figure on test", *owners), rows) + "\n"
    )
