"""Validation for the training loop: a network on the val split, chosen point and figures at that point."""

from collections.abc import Sequence

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from components.judging.guard import require_val
from components.judging.operating_point import choose_operating_point
from components.judging.predict import Member, judge_index
from components.judging.statistics import MIN_AREAS, StatisticsCollector
from media.errors import unknown_name
from media.index import SampleIndex
from media.shards import ShardReader
from media.spec import InputSpec

TASKS = ("segmentation",)


def validate(
    network: nn.Module,
    index: SampleIndex,
    reader: ShardReader,
    input_spec: InputSpec,
    *,
    device: torch.device | str,
    task: str = "segmentation",
    batch_size: int = 8,
    precision: str = "fp32",
    max_authentic_fpr: float = 0.05,
    min_areas: Sequence[float] = MIN_AREAS,
    workers: int = 2,
) -> dict[str, float]:
    """Judge whole pictures of the val split in tiles at their own resolution and choose the operating point there.

    The network's training mode is put back as it was.

    Args:
        network: normalised float32 [B,C,S,S] in, logits [B,1,S,S] out.
        index: rows of the val split, of both classes.
        reader: of the shards that ``index`` points into.
        input_spec: tile size, overlap, channels, mean and std.
        device: where the network is.
        task: the family's task.
        batch_size: tiles a forward pass.
        precision: ``fp32`` or ``bf16``.
        max_authentic_fpr: ceiling on the share of authentic pictures called forged, 0..1.
        min_areas: smallest forged area fractions to choose among.
        workers: threads that read and decode ahead.

    Returns:
        ``f1``, ``iou`` (mean over forged pictures), ``authentic_fpr``, ``authentic_fp_fraction`` (of authentic
        pictures), ``auc`` (of image scores), ``threshold``, ``min_area_fraction``, and ``meets_ceiling`` (1 or 0), all
        at the chosen point.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when val lacks a class, or a picture cannot be read.
        SettingsError: on an unknown task.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    require_val(index.column("split"), "a checkpoint")
    collector = StatisticsCollector(min_areas)
    # Layer by layer: a frozen batch norm may be in eval mode within a network that trains.
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        for judged in judge_index(
            [Member("network", network, input_spec)],
            index,
            reader,
            device=device,
            batch_size=batch_size,
            precision=precision,
            workers=workers,
        ):
            collector.add(judged.row, judged.mask, judged.probabilities["network"])
    finally:
        for module, training in modes:
            module.training = training
    statistics = collector.build()
    choice = choose_operating_point(statistics, max_authentic_fpr=max_authentic_fpr, min_areas=min_areas)
    scores = statistics.image_scores(choice.point.min_area_fraction)
    return {
        **{name: choice.figures[name] for name in ("f1", "iou", "authentic_fpr", "authentic_fp_fraction")},
        "auc": float(roc_auc_score(statistics.label, scores)),
        "threshold": choice.point.threshold,
        "min_area_fraction": choice.point.min_area_fraction,
        "meets_ceiling": float(choice.meets_ceiling),
    }
