"""The report of an evaluation of networks that mark regions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judging.choice import Choice
from judging.plots import precision_recall_plot, robustness_plot, roc_plot
from judging.report import Cell, Figure, Row, Section, Table, render_report, shown
from tasks.groups import Group
from tasks.regions.curve_plots import pixel_reliability_plot, threshold_plot
from tasks.regions.evaluation_gallery import Gallery
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member
from tasks.regions.statistics import PixelStatistics

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


def write_report(
    path: Path,
    metrics: Metrics,
    groups: Sequence[Group[Member]],
    choices: Mapping[str, Choice],
    test: Mapping[str, PixelStatistics],
    gallery: Gallery,
) -> None:
    """Write ``report.html`` from what ``metrics.json`` holds, the curves and the gallery."""
    names = " and ".join(group.name for group in groups)
    sections = [
        _summary(metrics),
        _members(metrics),
        *(_comparison(one) for one in metrics["comparisons"]),
        _curves(groups, choices, test),
        _robustness(metrics),
        *_strata(metrics),
        _pictures("Best", "Forged pictures that are found best.", gallery.best.figures(), groups),
        _pictures("Worst", "Forged pictures that are found worst.", gallery.worst.figures(), groups),
        _pictures("False alarms", "Authentic pictures with most marked.", gallery.false_alarms.figures(), groups),
    ]
    render_report(path, f"Evaluation of {names}", [one for one in sections if one is not None])


def _summary(metrics: Metrics) -> Section:
    groups = metrics["groups"]
    data = metrics["dataset"]
    counts = next(iter(groups.values()))["ensemble"]["counts"]
    text = [
        f"Test split of data set {data['sha256'][:12]}: {counts['forged']:,} forged and {counts['authentic']:,} "
        f"authentic pictures judged, {data['rejected']:,} could not be read."
    ]
    for name, group in groups.items():
        point = group["operating_point"]
        text.append(
            f"{name}: a pixel is marked from probability {point['threshold']:.3f}, a picture called forged from "
            f"{100 * point['min_area_fraction']:g} % of its area; {point['note']}."
        )
    text.append(
        "Thresholds were chosen on val. A picture not called forged has an empty mask. Authentic pictures do not enter "
        f"F1 and IoU. In grey: {100 * metrics['recipe']['bootstrap']['confidence']:g} % bootstrap intervals by group."
    )
    rows: list[Row] = [
        [heading, *(shown(group["ensemble"][part] if part else group["ensemble"], name) for group in groups.values())]
        for heading, part, name in FIGURES
    ]
    return Section("Ensembles", text, [Table(["", *groups], rows)])


def _members(metrics: Metrics) -> Section:
    rows: list[Row] = []
    for group, figures in metrics["groups"].items():
        models = {**figures["members"], "ensemble": figures["ensemble"]}
        rows += [
            [f"{group} {name}", *(shown(one, key) for key in SHORT), one["operating_point"]["threshold"]]
            for name, one in models.items()
        ]
    columns = ["model", *(HEADINGS[key] for key in SHORT), "threshold"]
    return Section("Members", ["Each at its own operating point, chosen on val."], [Table(columns, rows)])


def _comparison(comparison: Metrics) -> Section:
    first, second = comparison["first"], comparison["second"]
    models = {"ensemble": comparison["ensemble"], **comparison["members"]}
    rows: list[Row] = [
        [name, *(_difference(figures[key]) for key in HEADINGS if key in figures)] for name, figures in models.items()
    ]
    columns = ["model", *(HEADINGS[key] for key in HEADINGS if key in comparison["ensemble"])]
    text = [f"Differences {second} - {first} on the same pictures, each model at its own operating point."]
    tables = [Table(columns, rows), _equal_recall(comparison)]
    return Section(f"{second} against {first}", text, tables)


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


def _curves(
    groups: Sequence[Group[Member]], choices: Mapping[str, Choice], test: Mapping[str, PixelStatistics]
) -> Section:
    figures = []
    for group in groups:
        choice = choices[group.ensemble]
        point = point_of(choice)
        curve = next(c for c in choice.curves if c.min_area_fraction == point.min_area_fraction)
        figures.append(Figure(threshold_plot(f"{group.name} on val", curve, point)))
    one = {group.name: test[group.ensemble] for group in groups}
    scores = {
        group.name: (test[group.ensemble].label, test[group.ensemble].image_scores(area))
        for group in groups
        for area in [point_of(choices[group.ensemble]).min_area_fraction]
    }
    text = []
    if next(iter(one.values())).has_both_classes:
        figures.append(Figure(roc_plot("ROC, pictures of test", scores)))
        figures.append(Figure(precision_recall_plot("Precision and recall, pictures of test", scores)))
    else:
        text.append("Test holds pictures of one class alone, so there is no ROC and no precision-recall curve.")
    figures.append(Figure(pixel_reliability_plot("Calibration, pixels of test", one)))
    return Section("Curves", text, figures=figures)


def _robustness(metrics: Metrics) -> Section | None:
    groups = metrics["groups"]
    clean = {name: group["ensemble"] for name, group in groups.items()}
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
    text = ["Test pictures degraded before judging; operating points as above."]
    return Section("Robustness", text, [Table(columns, rows)], plots)


def _strata(metrics: Metrics) -> list[Section]:
    groups = metrics["groups"]
    sections = []
    for kind, title in STRATA.items():
        strata = {name: group["ensemble"]["strata"][kind] for name, group in groups.items()}
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
            sections.append(Section(title, (), [Table([*columns, *([] if by_area else ["AUC"])], rows)]))
    return sections


def _pictures(title: str, text: str, figures: Sequence[Figure], groups: Sequence[Group[Member]]) -> Section | None:
    if not figures:
        return None
    order = ", ".join(["the picture", *(group.name for group in groups)])
    legend = f"From left: {order}. Light blue: the truth; red: what is marked; heat: the probability."
    return Section(title, [text, legend], gallery=figures)
