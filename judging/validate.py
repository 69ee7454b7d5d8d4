"""Validation for the training loop: a network on the val split, chosen point and figures at that point."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from core.errors import unknown_name
from data.index import SampleIndex
from data.shards import ShardReader
from judging.faces import FaceMember, judge_media
from judging.faces_figures import validation_figures
from judging.guard import require_val
from judging.operating_point import choose_operating_point
from judging.predict import Member, judge_index
from judging.statistics import MIN_AREAS, PixelStatistics, StatisticsCollector
from media.spec import InputSpec

TASKS = ("segmentation", "classification")
NAME = "network"  # of the only member


def validate(
    network: nn.Module,
    index: SampleIndex,
    reader: ShardReader,
    input_spec: InputSpec,
    *,
    device: torch.device | str,
    task: str = "segmentation",
    clips: bool = False,
    batch_size: int = 8,
    precision: str = "fp32",
    max_authentic_fpr: float = 0.05,
    min_areas: Sequence[float] = MIN_AREAS,
    workers: int = 2,
) -> dict[str, float]:
    """Judge the val split as it is judged later, and choose the operating point there.

    For ``segmentation``, whole pictures in tiles at their own resolution; for ``classification``, the faces of whole
    media. The network's training mode is put back as it was.

    Args:
        network: as ``models.family`` says for the task.
        index: rows of the val split, of both classes.
        reader: of the shards that ``index`` points into.
        input_spec: how stored pixels become the network's input.
        device: where the network is.
        task: the family's task.
        clips: whether the family takes clips; ``classification`` alone.
        batch_size: tiles or faces a forward pass.
        precision: ``fp32`` or ``bf16``.
        max_authentic_fpr: ceiling on the share of authentic pictures or media called forged, 0..1.
        min_areas: smallest forged area fractions to choose among; ``segmentation`` alone.
        workers: threads that read and decode ahead.

    Returns:
        For ``segmentation``: ``f1``, ``iou`` (mean over forged pictures), ``authentic_fpr``, ``authentic_fp_fraction``
        (of authentic pictures), ``auc`` (of image scores), ``threshold``, ``min_area_fraction``, and ``meets_ceiling``
        (1 or 0), all at the chosen point. For ``classification``: see ``validation_figures``.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when val lacks a class, or a picture cannot be read.
        SettingsError: on an unknown task.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    require_val(index.column("split"), "a checkpoint")
    running: _Running = {"device": device, "batch_size": batch_size, "precision": precision, "workers": workers}
    with _evaluating(network):
        if task == "classification":
            media = list(judge_media([FaceMember(NAME, network, input_spec, clips)], index, reader, **running))
            return validation_figures(media, NAME, max_authentic_fpr)
        collector = StatisticsCollector(min_areas)
        for judged in judge_index([Member(NAME, network, input_spec)], index, reader, **running):
            collector.add(judged.row, judged.mask, judged.probabilities[NAME])
    return _segmentation_figures(collector.build(), max_authentic_fpr, min_areas)


class _Running(TypedDict):
    device: torch.device | str
    batch_size: int
    precision: str
    workers: int


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    # Layer by layer: a frozen batch norm may be in eval mode within a network that trains.
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _segmentation_figures(
    statistics: PixelStatistics, max_authentic_fpr: float, min_areas: Sequence[float]
) -> dict[str, float]:
    choice = choose_operating_point(statistics, max_authentic_fpr=max_authentic_fpr, min_areas=min_areas)
    scores = statistics.image_scores(choice.point.min_area_fraction)
    return {
        **{name: choice.figures[name] for name in ("f1", "iou", "authentic_fpr", "authentic_fp_fraction")},
        "auc": float(roc_auc_score(statistics.label, scores)),
        "threshold": choice.point.threshold,
        "min_area_fraction": choice.point.min_area_fraction,
        "meets_ceiling": float(choice.meets_ceiling),
    }
