"""Validation of classifiers of faces: figures on whole media of the val split, and a threshold chosen there."""

from data.parts import part_of
from judging.guard import require_val
from judging.running import evaluating
from tasks.faces.figures import validation_figures
from tasks.faces.media_scores import MediaLogits, collect_media
from tasks.faces.prediction import FaceMember, predict_media
from tasks.task import ValidationRequest

NAME = "network"  # of the only member


def validate(request: ValidationRequest) -> dict[str, float] | None:
    """Predict the faces of whole val media as is done later.

    Returns:
        See ``validation_figures``; None in all but the first of several processes.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when val lacks a class, or a face cannot be read.
    """
    require_val(request.index.column("split"), "a checkpoint")
    with evaluating(request.network):
        predictions = predict_media(
            [FaceMember(NAME, request.network, request.input, request.clips)],
            part_of(request.index, request.rank, request.world),
            request.reader,
            device=request.device,
            batch_size=request.batch_size,
            precision=request.precision,
            workers=request.workers,
        )
        parts = request.gather(collect_media(predictions, [NAME]))
    return validation_figures(MediaLogits.concatenate(parts), NAME, request.max_authentic_fpr) if parts else None
