"""What an evaluation of the task says to the gate."""

from tasks.task import ReleaseFigures


def release_figures(group, document):
    """Return the group's figures."""
    figures = {name: group["ensemble"][name] for name in ("accuracy", "authentic_fpr")}
    return ReleaseFigures(gate=figures | {"robustness": None}, shown=figures)
