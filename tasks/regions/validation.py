"""Validation of networks that mark regions: figures on the val split at an operating point chosen there."""

from sklearn.metrics import roc_auc_score

from data.labels import is_manipulated
from data.parts import part_of
from judging.guard import require_val
from judging.running import evaluating
from tasks.regions.operating_point import choose_operating_point
from tasks.regions.prediction import Member, predict_pictures
from tasks.regions.settings import MIN_AREAS
from tasks.regions.statistics import PixelStatistics, StatisticsCollector
from tasks.task import ValidationRequest

NAME = "network"  # of the only member


def validate(request: ValidationRequest) -> dict[str, float] | None:
    """Predict whole val pictures in tiles at their own resolution, as is done later, and choose the operating point.

    Returns:
        ``f1``, ``iou`` (mean over forged pictures), ``authentic_fpr``, ``authentic_fp_fraction`` (of authentic
        pictures), ``auc`` (of image scores), ``threshold``, ``min_area_fraction``, and ``meets_ceiling`` (1 or 0), all
        at the chosen point. None in all but the first of several processes.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when val lacks a class, or a picture cannot be read.
    """
    require_val(request.index.column("split"), "a checkpoint")
    collector = StatisticsCollector(MIN_AREAS)
    with evaluating(request.network):
        for prediction in predict_pictures(
            [Member(NAME, request.network, request.input)],
            part_of(request.index, request.rank, request.world),
            request.reader,
            device=request.device,
            batch_size=request.batch_size,
            precision=request.precision,
            workers=request.workers,
        ):
            collector.add(prediction.row, prediction.mask, prediction.probabilities[NAME])
    parts = request.gather(collector.build())
    return _figures(PixelStatistics.concatenate(parts), request.max_authentic_fpr) if parts else None


def _figures(statistics: PixelStatistics, max_authentic_fpr: float) -> dict[str, float]:
    choice = choose_operating_point(statistics, max_authentic_fpr=max_authentic_fpr, min_areas=MIN_AREAS)
    point = choice.decision.model_dump()
    scores = statistics.image_scores(point["min_area_fraction"])
    return {
        **{name: choice.figures[name] for name in ("f1", "iou", "authentic_fpr", "authentic_fp_fraction")},
        "auc": float(roc_auc_score(is_manipulated(statistics.label), scores)),
        **point,
        "meets_ceiling": float(choice.meets_ceiling),
    }
