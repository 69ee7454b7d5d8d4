"""What an evaluation of the task says to the gate."""

from tasks.task import ReleaseFigures


def release_figures(group, document):
    """Return the group's figures."""
    names, main = ("accuracy", "authentic_fpr"), document["main_dataset"]
    figures = {name: group["ensemble"]["datasets"][main][name] for name in names}
    return ReleaseFigures(gate=figures | {"robustness": None}, shown=figures, members={})
