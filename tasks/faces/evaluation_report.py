"""The report of an evaluation of classifiers of faces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judging.plots import reliability_plot, robustness_plot, roc_plot, score_reliability
from judging.report import Cell, Figure, Row, Section, Table, render_report, shown
from tasks.evaluation import bundles_in_words
from tasks.faces.evaluation_gallery import FaceGallery
from tasks.faces.evaluation_groups import ChosenGroup
from tasks.faces.heatmaps import HeatmapEvaluation
from tasks.faces.media_scores import MediaLogits

Metrics = Mapping[str, Any]

# What the tables show: heading and name of the figure.
FIGURES = (
    ("AUC", "auc"),
    ("AP", "ap"),
    ("EER", "eer"),
    ("balanced accuracy", "balanced_accuracy"),
    ("TPR: manipulated called so", "recall_forged"),
    ("FPR: authentic called manipulated", "authentic_fpr"),
    ("TPR at 1 % FPR", "tpr_at_fpr_1"),
    ("TPR at 5 % FPR", "tpr_at_fpr_5"),
    ("macro-F1", "macro_f1"),
    ("ECE: calibration error", "ece"),
)
SHORT = ("auc", "eer", "balanced_accuracy", "recall_forged", "authentic_fpr", "ece")
HEADINGS = {name: heading.partition(":")[0] for heading, name in FIGURES}


def write_face_report(
    path: Path,
    metrics: Metrics,
    groups: Sequence[ChosenGroup],
    media: Mapping[str, MediaLogits],
    gallery: Mapping[str, FaceGallery],
    heatmaps: Mapping[str, HeatmapEvaluation],
) -> None:
    """Write ``report.html`` from what ``metrics.json`` holds, the curves, the galleries and the heatmaps."""
    sections: list[Section | None] = [_summary(metrics)]
    for name in media:
        sections += [_dataset(metrics, name), _curves(name, groups, media[name]), *_strata(metrics, name)]
    sections += [_stages(metrics), _clips(metrics), _robustness(metrics)]
    last = groups[-1].name
    for name, one in gallery.items():
        sections.append(_gallery(f"{name}: missed", f"Manipulated media with the lowest score, by {last}.", one.missed))
        alarms = f"Authentic media with the highest score, by {last}."
        sections.append(_gallery(f"{name}: false alarms", alarms, one.false_alarms))
    sections += [_heatmaps(name, one) for name, one in heatmaps.items()]
    title = f"Evaluation of {' and '.join(group.name for group in groups)} on {', '.join(media)}"
    render_report(path, title, [one for one in sections if one is not None])


def _summary(metrics: Metrics) -> Section:
    rows: list[Row] = []
    for name, data in metrics["datasets"].items():
        counts = _first(metrics)["ensemble"]["datasets"][name]["video"]["counts"]
        others = ", ".join(f"{count:,} {reason}" for reason, count in data["left_out"].items())
        faces = [data["faces"], data["no_face"], others or "none"]
        rows.append([name, counts["authentic"], counts["forged"], *faces])
    columns = ["data set", "authentic media", "manipulated media", "faces", "no face found", "left out otherwise"]
    text = [f"{metrics['rejected']:,} faces could not be read."] if metrics["rejected"] else []
    text += bundles_in_words(metrics)
    for name, group in metrics["groups"].items():
        point = group["operating_point"]
        shares = ", ".join(
            f"{member} {100 * weight / sum(group['weights'].values()):.0f} % at temperature "
            f"{group['temperatures'][member]:.2f}"
            for member, weight in group["weights"].items()
        )
        text.append(
            f"{name}: manipulated from a probability of {point['threshold']:.3f} on; {point['note']}. Members: "
            f"{shares} ({group['weights_note']})."
        )
        for dataset, figures in group["ensemble"]["datasets"].items():
            if figures["abstained"]:
                text.append(
                    f"{name}: of {figures['abstained']:,} media of {dataset} every member abstained, because a view "
                    "that it needs is not there; they have no score and enter no figure."
                )
    text.append(
        "Temperatures, weights and thresholds were chosen on val. A medium without a face has no score and enters no "
        f"figure; how many there are stands below, all splits together. In grey: "
        f"{100 * metrics['recipe']['bootstrap']['confidence']:g} % bootstrap intervals by group of related media."
    )
    return Section("What was judged", text, [Table(columns, rows)])


def _first(metrics: Metrics) -> Metrics:
    first: Metrics = next(iter(metrics["groups"].values()))
    return first


def _dataset(metrics: Metrics, name: str) -> Section:
    groups = metrics["groups"]
    found = {group: one["ensemble"]["datasets"][name] for group, one in groups.items()}
    rows: list[Row] = [
        [heading, *(shown(one[unit], key) for one in found.values() for unit in ("video", "frame"))]
        for heading, key in FIGURES
    ]
    columns = ["", *(f"{group} {unit}" for group in groups for unit in ("media", "frames"))]
    members: list[Row] = [
        [f"{group} {member}", *(shown(part["datasets"][name]["video"], key) for key in SHORT)]
        for group, one in groups.items()
        for member, part in {**one["members"], "ensemble": one["ensemble"]}.items()
    ]
    note = "the data set releases are judged by" if name == metrics["main_dataset"] else "judged at the same thresholds"
    tables = [Table(columns, rows, "Ensembles")]
    tables.append(Table(["media", *(HEADINGS[key] for key in SHORT)], members, "Members, each at its own threshold"))
    return Section(f"Data set {name}", [f"Test split; {note}."], tables)


def _curves(name: str, groups: Sequence[ChosenGroup], media: MediaLogits) -> Section:
    scored = {group.name: (media.scored_by(group.ensemble.members), group.ensemble.members) for group in groups}
    scores = {group: (one.label, one.scores(members)) for group, (one, members) in scored.items()}
    points = {group: score_reliability(labels, values) for group, (labels, values) in scores.items()}
    figures = [Figure(reliability_plot(f"Calibration, media of {name}", "a medium", "manipulated", points))]
    if all(one.has_both_classes for one, _ in scored.values()):
        figures.insert(0, Figure(roc_plot(f"ROC, media of {name}", scores)))
    return Section(f"Curves on {name}", figures=figures)


def _strata(metrics: Metrics, name: str) -> list[Section]:
    sections = []
    for kind, title in (("methods", "method"), ("compressions", "compression")):
        found = {group: one["ensemble"]["datasets"][name][kind] for group, one in metrics["groups"].items()}
        rows: list[Row] = [
            [stratum, group, figures["counts"]["forged"], *(shown(figures, key) for key in SHORT)]
            for stratum in next(iter(found.values()))
            for group, figures in ((group, one[stratum]) for group, one in found.items())
        ]
        if rows:
            text = "Each method's media beside all authentic ones." if kind == "methods" else ""
            columns = [title, "group", "manipulated", *(HEADINGS[key] for key in SHORT)]
            sections.append(Section(f"{name} by {title}", [text] if text else (), [Table(columns, rows)]))
    return sections


def _stages(metrics: Metrics) -> Section | None:
    entries = {(entry["group"], entry["dataset"]): entry for entry in metrics["forgetting"]}
    groups, datasets = list(dict.fromkeys(group for group, _ in entries)), list(metrics["datasets"])
    if len(groups) < 2:
        return None
    rows: list[Row] = [[group, *(_stage(entries[group, name]) for name in datasets)] for group in groups]
    text = "AUC over media of each stage on each data set; in grey the drop against the best one before it."
    return Section("Stages, and what they forgot", [text], [Table(["stage", *datasets], rows)])


def _stage(entry: Metrics) -> Cell:
    if entry["drop"] is None:
        return Cell(entry["auc"])
    interval = f" ({entry['interval'][0]:+.3f} to {entry['interval'][1]:+.3f})" if entry["interval"] else ""
    return Cell(entry["auc"], f"drop {entry['drop']:+.3f}{interval} against {entry['best_earlier']}")


def _clips(metrics: Metrics) -> Section | None:
    rows: list[Row] = []
    for group, one in metrics["groups"].items():
        for member, part in {**one["members"], "ensemble": one["ensemble"]}.items():
            for name, figures in part["datasets"].items():
                if found := figures["clips"]:
                    interval = found["interval"]
                    note = f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else ""
                    rows.append(
                        [f"{group} {member}", name, found["clips"], found["frames"], Cell(found["difference"], note)]
                    )
    text = "AUC over media by clips, beside that of the mean over the same network's frames, each judged by itself."
    columns = ["model", "data set", "by clips", "by frames", "difference"]
    return Section("What looking at clips is worth", [text], [Table(columns, rows)]) if rows else None


def _robustness(metrics: Metrics) -> Section | None:
    groups, main = metrics["groups"], metrics["main_dataset"]
    degradations = list(_first(metrics)["robustness"])
    if not degradations:
        return None
    found = {name: {"as is": one["ensemble"]["datasets"][main], **one["robustness"]} for name, one in groups.items()}
    keys = ("auc", "recall_forged", "authentic_fpr")
    rows: list[Row] = [
        [degradation, *(shown(one[degradation]["video"], key) for one in found.values() for key in keys)]
        for degradation in ("as is", *degradations)
    ]
    columns = ["faces", *(f"{name} {HEADINGS[key]}" for name in groups for key in keys)]
    plots = [
        Figure(
            robustness_plot(
                HEADINGS[key], "", {name: {d: f["video"][key] for d, f in one.items()} for name, one in found.items()}
            )
        )
        for key in ("auc", "authentic_fpr")
    ]
    text = f"Faces of {main} degraded before judging; thresholds as above."
    return Section("Robustness", [text], [Table(columns, rows)], plots)


def _gallery(title: str, text: str, figures: Sequence[Figure]) -> Section | None:
    bars = "The bar under a face is its probability of being manipulated."
    return Section(title, [text, bars], gallery=figures) if figures else None


def _heatmaps(name: str, evaluated: HeatmapEvaluation) -> Section:
    figures = evaluated.figures
    first = next(iter(figures["maps"]))
    named = dict(figures["maps"]) | {f"{first} - {other}": gain for other, gain in figures["gains"].items()}
    rows: list[Row] = [
        [heatmap, stratum, one["pictures"], shown(one, "pointing"), shown(one, "iou")]
        for heatmap, strata in named.items()
        for stratum, one in strata.items()
        if one is not None
    ]
    text = [
        f"Heatmaps of {name} on {figures['pictures']:,} pseudo-fakes made from authentic test faces, whose masks are "
        f"known; {100 * figures['detected']:.0f} % of them are detected.",
        "Pointing: how often the maximum lies in the mask. IoU: of the mask and as many pixels of highest value. The "
        "map called centre looks at nothing and always points to the middle.",
    ]
    table = Table(["heatmap", "pseudo-fakes", "count", "pointing", "IoU"], rows)
    return Section(f"Heatmaps of {name}", text, [table], gallery=evaluated.gallery)
