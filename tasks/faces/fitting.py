"""What an export of classifiers of faces chooses, all of it on val: temperatures, weights, thresholds."""

from dataclasses import replace

from tasks.faces.evaluation_groups import choose_group
from tasks.faces.media_scores import collect_media
from tasks.faces.prediction import FaceMember, predict_media
from tasks.faces.settings import FacesFit
from tasks.groups import make_group
from tasks.task import FitJob, Fitted

EXPORTED = "exported"  # the one group of an export


def fit(job: FitJob) -> Fitted:
    """Predict the media of val once and choose from their logits.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks authentic or manipulated media; others when one cannot be read.
    """
    settings = job.settings
    assert isinstance(settings, FacesFit)  # noqa: S101 - the task's own, as the step validates them
    members = [
        FaceMember(name, loaded.network, loaded.spec.input, loaded.family.clips)
        for name, loaded in job.networks.items()
    ]
    group = make_group(EXPORTED, members)
    predictions = predict_media(
        list(group.members.values()), job.val, job.reader, **settings.inference.running(), progress="calibration"
    )
    chosen = choose_group(group, collect_media(predictions, group.keys), settings)
    return Fitted(
        temperatures={name: chosen.calibrations[key].temperature for name, key in chosen.keys.items()},
        weights=replace(chosen.weights, weights={n: chosen.calibrations[key].weight for n, key in chosen.keys.items()}),
        choices={name: part.choice for name, part in chosen.parts.items()},
    )
