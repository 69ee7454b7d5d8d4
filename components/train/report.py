"""The HTML report of a training run: its curves, and a table of its epochs."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from components.train.recipe import TrainRecipe
from judging.report import Figure, Section, Table, render_report

Line = Mapping[str, Any]
Curves = Mapping[str, Sequence[float]]


def write_report(path: Path, recipe: TrainRecipe, lines: Sequence[Line]) -> None:
    """Write the report.

    Args:
        path: the file to write.
        recipe: the run's.
        lines: of the epoch log, at least one.
    """
    best = max((line for line in lines if line["best"]), key=lambda line: int(line["epoch"]))
    epochs = [line["epoch"] for line in lines]
    ceiling = recipe.monitor.max_authentic_fpr
    rule = f"{recipe.monitor.metric} ({recipe.monitor.mode})" + (
        "" if ceiling is None else f" among the epochs whose authentic_fpr is at most {ceiling:g}"
    )
    figures = [
        _plot(epochs, _columns(lines, "train"), best["epoch"], "Loss terms on train"),
        _plot(epochs, _columns(lines, "val"), best["epoch"], "Metrics on val"),
        _plot(epochs, {"lr": [line["lr"] for line in lines]}, best["epoch"], "Learning rate"),
    ]
    names = list(best["val"])
    table = Table(
        ["epoch", "loss", *names, "lr", "samples/s", "seconds", "data wait", "best so far"],
        [
            [
                line["epoch"],
                line["train"]["loss"],
                *(line["val"].get(name) for name in names),
                f"{line['lr']:.3g}",
                line["samples_per_s"],
                line["seconds"],
                line["data_wait"],
                "yes" if line["best"] else "",
            ]
            for line in lines
        ],
    )
    sections = [
        Section(
            "Result",
            [
                f"Epoch {best['epoch']} of {lines[-1]['epoch']} trained ({recipe.epochs} planned) is kept, chosen on "
                f"val by {rule}."
            ],
        ),
        Section("Curves", figures=figures),
        Section("Epochs", tables=[table]),
        Section(
            "Recipe",
            tables=[
                Table(["key", "value"], [[key, str(value)] for key, value in recipe.model_dump(mode="json").items()])
            ],
        ),
    ]
    render_report(path, f"Training of {recipe.name}", sections)


def _columns(lines: Sequence[Line], part: str) -> Curves:
    return {name: [line[part][name] for line in lines] for name in lines[0][part]}


def _plot(epochs: Sequence[int], curves: Curves, best: int, title: str) -> Figure:
    # pyplot keeps global state; a figure made by itself does not.
    from matplotlib.figure import Figure as Drawing
    from matplotlib.ticker import MaxNLocator

    drawing = Drawing(figsize=(7, 3.5), dpi=110, layout="constrained")
    axes = drawing.subplots()
    for name, values in curves.items():
        axes.plot(epochs, values, marker="o", markersize=3, label=name)
    axes.axvline(best, color="grey", linewidth=1, linestyle=":")
    axes.set_xlabel("epoch (dotted: the one kept)")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best", fontsize="small")
    axes.grid(alpha=0.3)
    stream = BytesIO()
    drawing.savefig(stream, format="png")
    return Figure(stream.getvalue(), title)
