"""The evaluation of classifiers of faces: everything is chosen on the media of val, then each test split is read once.

Groups are stages, evaluated on every data set: the one they were trained on and others.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bundle.document import HEATMAP, BundleMember
from core.errors import BadInputError
from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE, SampleIndex
from data.labels import AUTHENTIC
from data.shards import ShardReader
from judging.collect import Rejections
from media.degrade import degradation
from tasks.evaluation import METRICS_FILE
from tasks.exported import ExportedNetwork
from tasks.faces.evaluation_figures import dataset_figures, forgetting, robustness
from tasks.faces.evaluation_gallery import FaceGallery, draw_gallery
from tasks.faces.evaluation_groups import ChosenGroup, choose_group
from tasks.faces.evaluation_report import write_face_report
from tasks.faces.evaluation_table import write_media_table
from tasks.faces.heatmap_models import ExportedHeatmaps, HeatmapModel, TrainedHeatmaps
from tasks.faces.heatmaps import HeatmapEvaluation, evaluate_heatmaps
from tasks.faces.loading import TASK_NAME, exported_member, load_member
from tasks.faces.media_scores import MediaLogits, collect_media
from tasks.faces.prediction import FaceMember, predict_media
from tasks.faces.settings import FacesEvaluate
from tasks.groups import load_groups
from tasks.splits import read_data
from tasks.task import CURRENT, ENSEMBLE, EvaluationRequest, EvaluationSummary

TABLE_FILE = "per_medium.parquet"
SUMMARY = ("auc", "ap", "eer", "balanced_accuracy", "authentic_fpr", "recall_forged", "ece")
NO_FACE = "no-face"  # the reason under which extraction records a medium without a face


class FaceGroups:
    """Loaded groups.

    Args:
        request: gives models and bundles.
        indexes: their samples must show what the models read.

    Attributes:
        groups: as ``load_groups`` returns them.
        members: of all.
        heatmaps: what makes heatmaps among the members of the last group, by name.
    """

    def __init__(self, request: EvaluationRequest, indexes: Sequence[SampleIndex]) -> None:
        device = request.settings.inference.torch_device()
        heatmaps: dict[nn.Module, HeatmapModel] = {}

        def load(path: Path) -> FaceMember:
            member, loaded = load_member(path, device, indexes=indexes)
            if loaded.family.heatmaps:
                heatmaps[member.network] = TrainedHeatmaps(loaded, device)
            return member

        def exported(described: BundleMember, network: ExportedNetwork) -> FaceMember:
            if HEATMAP in described.model.outputs:
                heatmaps[network] = ExportedHeatmaps(network)
            return exported_member(described, network)

        self.groups = load_groups(request, load, exported)
        self.members = [member for group in self.groups for member in group.members.values()]
        last = self.groups[-1].members.items()
        self.heatmaps = {name: heatmaps[one.network] for name, one in last if one.network in heatmaps}


class _Pass:
    """Runs the members of all groups over a split; each face is decoded once a pass."""

    def __init__(self, groups: FaceGroups, settings: FacesEvaluate, cache: Path | None) -> None:
        self._groups = groups
        self._settings = settings
        self._cache = cache
        self.rejections = Rejections()

    def __call__(self, index: SampleIndex, label: str, degraded: str | None = None) -> MediaLogits:
        """Return the members' logits of the media of an index."""
        predictions = predict_media(
            self._groups.members,
            index,
            self.reader(index),
            **self._settings.inference.running(),
            degrade=degradation(degraded) if degraded else None,
            progress=label,
            unreadable=self.rejections,
        )
        return collect_media(predictions, [member.name for member in self._groups.members])

    def reader(self, index: SampleIndex) -> ShardReader:
        """Return a reader of the shards that an index points into."""
        return ShardReader(index.shards, self._cache)


def evaluate(request: EvaluationRequest) -> EvaluationSummary:
    """Evaluate bundles and groups of classifiers on test splits and write what was measured.

    Raises:
        SettingsError: when two data sets have one name, or there is nothing to evaluate.
        BadInputError: ``empty-split`` when there is no test or val face, ``empty-class`` when val lacks a class; others
            when a data set or model cannot be read.
        SplitLeakError: when a test face is also in the split that thresholds are chosen on.
        MismatchError: when a model cannot read a data set.
    """
    settings, output = request.settings, request.output
    assert isinstance(settings, FacesEvaluate)  # noqa: S101 - the task's own, as the component validates them
    data = read_data(request)
    main, tests = data.main, data.tests
    groups = FaceGroups(request, data.indexes)
    predict = _Pass(groups, settings, request.cache)
    val = predict(data.val, "val")
    chosen = [choose_group(group, val, settings) for group in groups.groups]
    media = {name: predict(index, name) for name, index in tests.items()}
    degraded = {name: predict(tests[main], f"{main}, {name}", name) for name in settings.degradations}
    metrics: dict[str, Any] = {
        "task": TASK_NAME,
        **request.identities,
        "main_dataset": main,
        "datasets": {
            name: _dataset(index, media[name], path)
            for path, (name, index) in zip(request.datasets, tests.items(), strict=True)
        },
        "fit_dataset": {"sha256": data.fit.sha256, "split": "val", "media": len(set(data.val.column("media_id")))},
        "rejected": len(predict.rejections),
        "recipe": settings.model_dump(mode="json"),
        "groups": {group.name: _group(group, media, degraded, settings) for group in chosen},
        # What is released at present is no stage of this training.
        "forgetting": forgetting([one for one in chosen if one.name != CURRENT], media, settings.bootstrap),
    }
    heatmaps = _heatmaps(groups, tests[main], predict, settings)
    metrics["heatmaps"] = {name: one.figures for name, one in heatmaps.items()}
    gallery = {name: _gallery(chosen[-1], media[name], index, predict, settings) for name, index in tests.items()}
    write_text(output / METRICS_FILE, json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    write_media_table(output / TABLE_FILE, chosen, media)
    predict.rejections.write(output / REJECTED_FILE)
    write_face_report(output / REPORT_FILE, metrics, chosen, media, gallery, heatmaps)
    videos = {name: one["ensemble"]["datasets"][main]["video"] for name, one in metrics["groups"].items()}
    return EvaluationSummary(
        groups={name: {key: figures[key] for key in SUMMARY} for name, figures in videos.items()},
        evaluated=sum(len(one) for one in media.values()),
        rejected=len(predict.rejections),
    )


def _dataset(index: SampleIndex, media: MediaLogits, folder: Path) -> dict[str, Any]:
    left_out = read_rejections(folder)
    return {
        "sha256": index.sha256,
        "split": "test",
        "media": len(media),
        "faces": len(index),
        "no_face": left_out.pop(NO_FACE, 0),
        "left_out": dict(sorted(left_out.items())),
    }


def read_rejections(folder: Path) -> Counter[str]:
    """Count what the extraction of a data set left out, all splits together, by reason.

    Raises:
        BadInputError: ``not-an-index`` when the list is damaged; without one nothing was left out.
    """
    path = folder / REJECTED_FILE
    if not path.is_file():
        return Counter()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return Counter(str(json.loads(line)["reason"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError("not-an-index", f"{path} cannot be read ({error}); extract the data set again") from error


def _group(
    group: ChosenGroup, media: Mapping[str, MediaLogits], degraded: Mapping[str, MediaLogits], settings: FacesEvaluate
) -> dict[str, Any]:
    """Return a group's figures: ``ensemble`` and ``members`` by data set, what was chosen, and ``robustness``."""
    figures = {
        name: {
            "operating_point": part.choice.to_json(),
            "datasets": {one: dataset_figures(media[one], part, settings.bootstrap) for one in media},
        }
        for name, part in group.parts.items()
    }
    ensemble = figures.pop(ENSEMBLE)
    return {
        "ensemble": ensemble,
        "members": figures,
        "operating_point": ensemble["operating_point"],
        "weights": {name: group.calibrations[key].weight for name, key in group.keys.items()},
        "temperatures": {name: group.calibrations[key].temperature for name, key in group.keys.items()},
        "weights_note": group.weights.note,
        "robustness": {name: robustness(one, group.ensemble, settings.bootstrap) for name, one in degraded.items()},
    }


def _heatmaps(
    groups: FaceGroups, test: SampleIndex, predict: _Pass, settings: FacesEvaluate
) -> dict[str, HeatmapEvaluation]:
    """Evaluate the heatmaps of the last group's members that have them, on pseudo-fakes of the main data set."""
    if not settings.heatmaps or not (test.column("label") == AUTHENTIC).any():
        return {}
    return {
        name: evaluate_heatmaps(
            model,
            test,
            predict.reader(test),
            seed=settings.bootstrap.seed,
            count=settings.heatmaps,
            **settings.inference.running(),
            bootstrap=settings.bootstrap,
            gallery=settings.gallery,
        )
        for name, model in groups.heatmaps.items()
    }


def _gallery(
    group: ChosenGroup, media: MediaLogits, index: SampleIndex, predict: _Pass, settings: FacesEvaluate
) -> FaceGallery:
    return draw_gallery(media, group.ensemble, index, predict.reader(index), settings.gallery)
