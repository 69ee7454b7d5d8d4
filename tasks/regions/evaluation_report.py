"""The report of an evaluation of networks that mark regions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judging.plots import precision_recall_plot, robustness_plot, roc_plot
from judging.report import Cell, Figure, Row, Section, Table, render_report, shown
from tasks.evaluation import bundles_in_words
from tasks.groups import Group
from tasks.regions.curve_plots import pixel_reliability_plot, threshold_plot
from tasks.regions.evaluation_gallery import Gallery
from tasks.regions.evaluation_passes import Measured
from tasks.regions.fitting import FittedGroups, Statistics
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member
from tasks.task import ENSEMBLE

Metrics = Mapping[str, Any]

# What the main table shows: heading, where the figure is, its name there.
FIGURES = (
    ("F1, mean over forged pictures", "", "f1"),
    ("IoU, mean over forged pictures", "", "iou"),
    ("F1, pixels pooled", "", "f1_pooled"),
    ("IoU, pixels pooled", "", "iou_pooled"),
    ("oracle: F1 at the best threshold on test", "", "oracle_f1"),
    ("oracle: F1 at the best threshold per picture", "", "oracle_f1_per_image"),
    ("authentic pictures called forged", "", "authentic_fpr"),
    ("authentic pixels marked", "", "authentic_fp_fraction"),
    ("forged pictures called forged", "", "forged_recall"),
    ("AUC, pictures", "image", "auc"),
    ("AP, pictures", "image", "ap"),
    ("EER, pictures", "image", "eer"),
    ("balanced accuracy", "image", "balanced_accuracy"),
    ("TPR at 1 % FPR", "image", "tpr_at_fpr_1"),
    ("TPR at 5 % FPR", "image", "tpr_at_fpr_5"),
    ("macro-F1", "image", "macro_f1"),
    ("recall, authentic", "image", "recall_authentic"),
    ("calibration error, picture score", "image", "ece"),
    ("AUC, media", "media", "auc"),
    ("AUC, pixels of forged pictures", "pixel", "auc"),
    ("calibration error, pixels", "pixel", "ece"),
)
SHORT = ("f1", "iou", "oracle_f1", "authentic_fpr", "authentic_fp_fraction", "forged_recall")
HEADINGS = {
    "f1": "F1",
    "iou": "IoU",
    "oracle_f1": "oracle F1",
    "authentic_fpr": "authentic FPR",
    "authentic_fp_fraction": "authentic pixels marked",
    "forged_recall": "forged recall",
    "pixel_recall": "pixel recall",
}
STRATA = {"forged_area": "Forged area", "method": "Method", "compression": "Compression"}


def write_report(path: Path, metrics: Metrics, fitted: FittedGroups, measured: Mapping[str, Measured]) -> None:
    """Write ``report.html`` from what ``metrics.json`` holds, the curves and the galleries, data set by data set."""
    sections: list[Section | None] = [_judged(metrics)]
    for name, one in measured.items():
        sections += [_ensembles(metrics, name), _members(metrics, name)]
        sections += [_comparison(found) for found in metrics["comparisons"] if found["dataset"] == name]
        sections += [_curves(name, fitted, one.statistics)]
        sections += [_robustness(metrics) if name == metrics["main_dataset"] else None]
        sections += [*_strata(metrics, name), *_gallery(name, one.gallery, fitted.groups)]
    names = " and ".join(group.name for group in fitted.groups)
    render_report(path, f"Evaluation of {names} on {', '.join(measured)}", [one for one in sections if one is not None])


def _on(metrics: Metrics, dataset: str) -> dict[str, dict[str, Metrics]]:
    """Return the figures of members and ensemble on one data set, by group."""
    return {
        group: {name: part["datasets"][dataset] for name, part in {**one["members"], ENSEMBLE: one["ensemble"]}.items()}
        for group, one in metrics["groups"].items()
    }


def _judged(metrics: Metrics) -> Section:
    rows: list[Row] = []
    first: Metrics = next(iter(metrics["groups"].values()))["ensemble"]
    for name, data in metrics["datasets"].items():
        counts = first["datasets"][name]["counts"]
        decisive = "releases are gated by it" if name == metrics["main_dataset"] else "judged at the same points"
        rows.append([name, data["sha256"][:12], counts["forged"], counts["authentic"], decisive])
    text = [f"{metrics['rejected']:,} pictures could not be read."] if metrics["rejected"] else []
    text += bundles_in_words(metrics)
    for name, group in metrics["groups"].items():
        point = group["operating_point"]
        text.append(
            f"{name}: a pixel is marked from probability {point['threshold']:.3f}, a picture called forged from "
            f"{100 * point['min_area_fraction']:g} % of its area; {point['note']}. Weights: {group['weights_note']}."
        )
    text.append(
        "Temperatures, weights and operating points were chosen on val. A picture not called forged has an empty mask. "
        "Authentic pictures do not enter F1 and IoU. In grey: "
        f"{100 * metrics['recipe']['bootstrap']['confidence']:g} % bootstrap intervals by group."
    )
    return Section("What was judged", text, [Table(["data set", "index", "forged", "authentic", ""], rows)])


def _ensembles(metrics: Metrics, dataset: str) -> Section:
    groups = _on(metrics, dataset)
    rows: list[Row] = [
        [heading, *(shown(one[ENSEMBLE][part] if part else one[ENSEMBLE], name) for one in groups.values())]
        for heading, part, name in FIGURES
    ]
    return Section(f"Ensembles on {dataset}", (), [Table(["", *groups], rows)])


def _members(metrics: Metrics, dataset: str) -> Section:
    rows: list[Row] = [
        [f"{group} {name}", *(shown(one, key) for key in SHORT), one["operating_point"]["threshold"]]
        for group, models in _on(metrics, dataset).items()
        for name, one in models.items()
    ]
    columns = ["model", *(HEADINGS[key] for key in SHORT), "threshold"]
    return Section(f"Members on {dataset}", ["Each at its own operating point."], [Table(columns, rows)])


def _comparison(comparison: Metrics) -> Section:
    first, second = comparison["first"], comparison["second"]
    models = {ENSEMBLE: comparison["ensemble"], **comparison["members"]}
    rows: list[Row] = [
        [name, *(_difference(figures[key]) for key in HEADINGS if key in figures)] for name, figures in models.items()
    ]
    columns = ["model", *(HEADINGS[key] for key in HEADINGS if key in comparison["ensemble"])]
    text = [f"Differences {second} - {first} on the same pictures, each model at its own operating point."]
    tables = [Table(columns, rows), _equal_recall(comparison)]
    return Section(f"{second} against {first} on {comparison['dataset']}", text, tables)


def _difference(figure: Metrics) -> Cell:
    interval = figure["interval"]
    return Cell(figure["difference"], f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "")


def _equal_recall(comparison: Metrics) -> Table:
    first, second = comparison["first"], comparison["second"]
    rows: list[Row] = []
    for one in comparison["equal_recall"]:
        own = f", as {one['own_recall_of']} at its point" if one["own_recall_of"] else ""
        label = f"{one['kind']} recall {one['recall']:.3f} on val{own}"
        if one["differences"] is None:
            rows.append([Cell(label, one["reason"]), None, None, None, None, None])
            continue
        fpr, recall = one["differences"]["authentic_fpr"], one["differences"][_RECALL[one["kind"]]]
        rows.append([label, fpr["first"], fpr["second"], _difference(fpr), recall["first"], recall["second"]])
    columns = ["threshold of each chosen for", f"FPR {first}", f"FPR {second}", "difference"]
    columns += [f"recall on test {first}", f"recall on test {second}"]
    return Table(columns, rows, "False positives on authentic test pictures at equal recall on val")


_RECALL = {"image": "forged_recall", "pixel": "pixel_recall"}


def _curves(dataset: str, fitted: FittedGroups, test: Statistics) -> Section:
    figures = []
    points = {group.name: point_of(fitted.choices[group.ensemble]) for group in fitted.groups}
    for group in fitted.groups:
        point = points[group.name]
        curves = fitted.choices[group.ensemble].curves
        curve = next(c for c in curves if c.min_area_fraction == point.min_area_fraction)
        figures.append(Figure(threshold_plot(f"{group.name} on val", curve, point)))
    one = {group.name: test[group.ensemble] for group in fitted.groups}
    scores = {
        name: (statistics.label, statistics.image_scores(points[name].min_area_fraction))
        for name, statistics in one.items()
    }
    text = []
    if next(iter(one.values())).has_both_classes:
        figures.append(Figure(roc_plot("ROC, pictures of test", scores)))
        figures.append(Figure(precision_recall_plot("Precision and recall, pictures of test", scores)))
    else:
        text.append("Test holds pictures of one class alone, so there is no ROC and no precision-recall curve.")
    figures.append(Figure(pixel_reliability_plot("Calibration, pixels of test", one)))
    return Section(f"Curves on {dataset}", text, figures=figures)


def _robustness(metrics: Metrics) -> Section | None:
    groups, main = metrics["groups"], metrics["main_dataset"]
    clean = {name: group["ensemble"]["datasets"][main] for name, group in groups.items()}
    degradations = list(next(iter(groups.values()))["robustness"])
    if not degradations:
        return None
    rows: list[Row] = []
    for degradation in (None, *degradations):
        row: list[Any] = [degradation or "as they are"]
        for name, group in groups.items():
            figures = clean[name] if degradation is None else group["robustness"][degradation]
            row += [shown(figures, "f1"), shown(figures, "authentic_fpr"), shown(figures["image"], "auc")]
        rows.append(row)
    columns = ["pictures", *(f"{heading} {name}" for name in groups for heading in ("F1", "authentic FPR", "AUC"))]
    plots = [
        Figure(
            robustness_plot(
                title,
                "",
                {
                    name: {"as is": clean[name][key], **{d: group["robustness"][d][key] for d in degradations}}
                    for name, group in groups.items()
                },
            )
        )
        for title, key in (("F1", "f1"), ("False-positive rate on authentic pictures", "authentic_fpr"))
    ]
    text = [f"Test pictures of {main} degraded before judging; operating points as above."]
    return Section("Robustness", text, [Table(columns, rows)], plots)


def _strata(metrics: Metrics, dataset: str) -> list[Section]:
    groups = _on(metrics, dataset)
    sections = []
    for kind, title in STRATA.items():
        strata = {name: one[ENSEMBLE]["strata"][kind] for name, one in groups.items()}
        by_area = kind == "forged_area"
        keys = ("f1", "iou", "forged_recall") if by_area else ("f1", "iou", "forged_recall", "authentic_fpr")
        rows: list[Row] = []
        for stratum in next(iter(strata.values())):
            for name in groups:
                one = strata[name][stratum]
                cells = [*(shown(one, key) for key in keys), *([] if by_area else [shown(one["image"], "auc")])]
                rows.append([stratum, name, one["counts"]["forged"], one["counts"]["authentic"], *cells])
        columns = ["", "group", "forged", "authentic", *(HEADINGS[key] for key in keys)]
        if rows:
            sections.append(
                Section(f"{title} on {dataset}", (), [Table([*columns, *([] if by_area else ["AUC"])], rows)])
            )
    return sections


def _gallery(dataset: str, gallery: Gallery, groups: Sequence[Group[Member]]) -> list[Section | None]:
    return [
        _pictures(f"Best on {dataset}", "Forged pictures that are found best.", gallery.best.figures(), groups),
        _pictures(f"Worst on {dataset}", "Forged pictures that are found worst.", gallery.worst.figures(), groups),
        _pictures(
            f"False alarms on {dataset}",
            "Authentic pictures with most marked.",
            gallery.false_alarms.figures(),
            groups,
        ),
    ]


def _pictures(title: str, text: str, figures: Sequence[Figure], groups: Sequence[Group[Member]]) -> Section | None:
    if not figures:
        return None
    order = ", ".join(["the picture", *(group.name for group in groups)])
    legend = f"From left: {order}. Light blue: the truth; red: what is marked; heat: the probability."
    return Section(title, [text, legend], gallery=figures)
