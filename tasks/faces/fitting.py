"""What an export of classifiers of faces chooses, all of it on val: temperatures, weights, thresholds."""

from tasks.faces.calibration import calibrate_media, choose_media_threshold
from tasks.faces.media_scores import collect_media
from tasks.faces.prediction import FaceMember, predict_media
from tasks.faces.settings import FacesExport
from tasks.task import ENSEMBLE, ExportJob, Fitted


def fit(job: ExportJob) -> Fitted:
    """Predict the media of val once and choose from their logits.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks authentic or manipulated media; others when one cannot be read.
    """
    settings = job.settings
    assert isinstance(settings, FacesExport)  # noqa: S101 - the task's own, as the exporter validates them
    members = [
        FaceMember(name, loaded.network, loaded.spec.input, loaded.family.clips)
        for name, loaded in job.networks.items()
    ]
    predictions = predict_media(members, job.val, job.reader, **settings.judging.running(), progress="calibration")
    names = list(job.networks)
    media = collect_media(predictions, names)
    fitted = calibrate_media(media, names, temperatures=settings.calibrate, weights=settings.fit_weights)
    groups = {ENSEMBLE: fitted.members} | {name: {name: one} for name, one in fitted.members.items()}
    choices = {
        name: choose_media_threshold(
            media, group, rule=settings.threshold, max_authentic_fpr=settings.max_authentic_fpr
        )
        for name, group in groups.items()
    }
    return Fitted({name: one.temperature for name, one in fitted.members.items()}, fitted.weights, choices)
