"""What an export of networks that mark regions chooses, all of it on val: temperatures, weights, operating points."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from judging.calibration import DECIMALS, EnsembleWeights, fit_temperature, fit_weights
from tasks.regions.operating_point import choose_operating_point
from tasks.regions.pixel_sampling import PixelSampler
from tasks.regions.prediction import Member, Prediction, predict_pictures
from tasks.regions.settings import RegionsExport
from tasks.regions.statistics import collect_statistics
from tasks.task import ENSEMBLE, ExportJob, Fitted


def fit(job: ExportJob) -> Fitted:
    """Predict val twice: once for temperatures and weights, once calibrated for the operating points.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks forged or authentic pictures; others when one cannot be read.
    """
    settings = _settings(job)
    members = [Member(name, loaded.network, loaded.spec.input) for name, loaded in job.networks.items()]
    temperatures, weights = _calibrate(members, job, settings)
    calibrated = [
        replace(member, temperature=temperatures[member.name], weight=weights.weights[member.name])
        for member in members
    ]
    # A single member is its own ensemble.
    several = [ENSEMBLE] if len(members) > 1 else []
    predictions = _predict(calibrated, job, "operating point")
    statistics = collect_statistics(predictions, [*temperatures, *several], settings.min_areas)
    choices = {
        name: choose_operating_point(one, max_authentic_fpr=settings.max_authentic_fpr, min_areas=settings.min_areas)
        for name, one in statistics.items()
    }
    return Fitted(temperatures, weights, {ENSEMBLE: choices[members[0].name]} | choices)


def _settings(job: ExportJob) -> RegionsExport:
    assert isinstance(job.settings, RegionsExport)  # noqa: S101 - the task's own, as the exporter validates them
    return job.settings


def _predict(
    members: Sequence[Member], job: ExportJob, label: str, *, keep_logits: bool = False
) -> Iterator[Prediction]:
    running = job.settings.judging.running()
    return predict_pictures(members, job.val, job.reader, **running, progress=label, keep_logits=keep_logits)


def _calibrate(
    members: Sequence[Member], job: ExportJob, settings: RegionsExport
) -> tuple[dict[str, float], EnsembleWeights]:
    names = [member.name for member in members]
    equal = {name: round(1.0 / len(names), DECIMALS) for name in names}
    temperatures = dict.fromkeys(names, 1.0)
    weights = EnsembleWeights(equal, False, "equal, as the recipe says")
    if not settings.calibrate and not settings.fit_weights:
        return temperatures, weights
    most = max(2, settings.max_pixels // max(len(job.val), 1))
    sampler = PixelSampler(min(settings.pixels_per_picture, most), settings.seed)
    for picture in _predict(members, job, "calibration", keep_logits=True):
        sampler.add(picture.row, picture.mask, picture.logits)
    sample = sampler.build()
    if settings.calibrate:
        temperatures = {name: fit_temperature(sample, name) for name in names}
    return temperatures, fit_weights(sample, temperatures) if settings.fit_weights else weights
