"""What is fitted and chosen on val for networks that mark regions: temperatures, weights, operating points.

An export and an evaluation fit with the same functions. A bundle keeps what it has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bundle.regions.verdict import OperatingPoint
from core.errors import BadInputError
from data.index import SampleIndex
from data.shards import ShardReader
from judging.calibration import DECIMALS, EnsembleWeights, fit_temperature, fit_weights
from judging.choice import Choice
from tasks.groups import Group, make_group
from tasks.regions.operating_point import choose_operating_point, keep_operating_point
from tasks.regions.pixel_sampling import PixelSampler
from tasks.regions.prediction import Member, Prediction, predict_pictures
from tasks.regions.settings import RegionsFit
from tasks.regions.statistics import PixelStatistics, collect_statistics
from tasks.task import FitJob, Fitted

Statistics = dict[str, PixelStatistics]
Unreadable = Callable[[dict[str, Any], BadInputError], None]
EXPORTED = "exported"  # the one group of an export


@dataclass(frozen=True)
class FittedGroups:
    """Groups with all that val decides.

    Attributes:
        groups: with temperatures and weights.
        val: statistics on val by the names of members and ensembles in a pass.
        choices: operating points, likewise.
        weights: of the groups that were fitted, by the group's name.
    """

    groups: Sequence[Group[Member]]
    val: Statistics
    choices: Mapping[str, Choice]
    weights: Mapping[str, EnsembleWeights]


def fit(job: FitJob) -> Fitted:
    """Fit the members of one bundle.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks forged or authentic pictures; others when one cannot be read.
    """
    settings = job.settings
    assert isinstance(settings, RegionsFit)  # noqa: S101 - the task's own, as the step validates them
    members = [Member(name, loaded.network, loaded.spec.input) for name, loaded in job.networks.items()]
    fitted = fit_groups([make_group(EXPORTED, members)], job.val, job.reader, settings)
    (group,) = fitted.groups
    members_by_name, weights = group.members.items(), fitted.weights[EXPORTED]
    return Fitted(
        temperatures={name: member.temperature for name, member in members_by_name},
        weights=replace(weights, weights={name: member.weight for name, member in members_by_name}),
        choices={name: fitted.choices[key] for name, key in group.all_keys.items()},
    )


def fit_groups(
    groups: Sequence[Group[Member]],
    val: SampleIndex,
    reader: ShardReader,
    settings: RegionsFit,
    unreadable: Unreadable | None = None,
) -> FittedGroups:
    """Predict val twice: once for temperatures and weights, once calibrated for the operating points.

    All groups see a picture while it is in memory.

    Args:
        groups: those that have decisions keep these, and their temperatures and weights.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        settings: what to fit.
        unreadable: as ``predict_pictures`` takes it.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks forged or authentic pictures; others when one cannot be read.
    """
    passes = _Passes(val, reader, settings, unreadable)
    calibrated, weights = _calibrate(groups, passes)
    keys = dict.fromkeys(key for group in calibrated for key in group.all_keys.values())
    statistics = collect_statistics(passes(calibrated, "val"), list(keys), kept_areas(groups, settings))
    choices = {}
    for group in calibrated:
        for name, key in group.all_keys.items():
            choices[key] = _choose(statistics[key], group, name, settings)
    return FittedGroups(calibrated, statistics, choices, weights)


def kept_areas(groups: Sequence[Group[Member]], settings: RegionsFit) -> list[float]:
    """Return the minimum areas whose image scores are to be exact: those to choose among, and those of bundles."""
    points = (_point(decision) for group in groups for decision in group.decisions.values())
    return sorted({*settings.min_areas, *(point.min_area_fraction for point in points)})


def ensembles_of(groups: Sequence[Group[Member]]) -> dict[str, Sequence[str]]:
    """Return the names of members by the name of their ensemble, where there are several, as passes take them."""
    return {group.ensemble: group.keys for group in groups if len(group.members) > 1}


def members_of(groups: Sequence[Group[Member]]) -> list[Member]:
    """Return the members of all groups."""
    return [member for group in groups for member in group.members.values()]


@dataclass(frozen=True)
class _Passes:
    val: SampleIndex
    reader: ShardReader
    settings: RegionsFit
    unreadable: Unreadable | None

    def __call__(
        self, groups: Sequence[Group[Member]], label: str, *, keep_logits: bool = False
    ) -> Iterator[Prediction]:
        return predict_pictures(
            members_of(groups),
            self.val,
            self.reader,
            **self.settings.inference.running(),
            progress=label,
            ensembles=ensembles_of(groups),
            keep_logits=keep_logits,
            unreadable=self.unreadable,
        )


def _calibrate(
    groups: Sequence[Group[Member]], passes: _Passes
) -> tuple[list[Group[Member]], dict[str, EnsembleWeights]]:
    settings, open_ = passes.settings, [group for group in groups if not group.decisions]
    temperatures = {key: 1.0 for group in open_ for key in group.keys}
    weights = {group.name: _equal(group.keys) for group in open_}
    if open_ and (settings.calibrate or settings.fit_weights):
        most = max(2, settings.max_pixels // max(len(passes.val), 1))
        sampler = PixelSampler(min(settings.pixels_per_picture, most), settings.seed)
        for picture in passes(open_, "calibration", keep_logits=True):
            sampler.add(picture.row, picture.mask, picture.logits)
        sample = sampler.build()
        if settings.calibrate:
            temperatures = {key: fit_temperature(sample, key) for key in temperatures}
        if settings.fit_weights:
            weights = {
                group.name: fit_weights(sample, {key: temperatures[key] for key in group.keys}) for group in open_
            }
    fitted = [group if group.decisions else group.fitted(temperatures, weights[group.name]) for group in groups]
    return fitted, weights


def _equal(names: Sequence[str]) -> EnsembleWeights:
    share = round(1.0 / len(names), DECIMALS)
    return EnsembleWeights(dict.fromkeys(names, share), False, "equal, as the recipe says")


def _choose(statistics: PixelStatistics, group: Group[Member], name: str, settings: RegionsFit) -> Choice:
    ceiling = settings.max_authentic_fpr
    if group.decisions:
        return keep_operating_point(
            statistics, _point(group.decisions[name]), max_authentic_fpr=ceiling, note="the bundle's own"
        )
    return choose_operating_point(statistics, max_authentic_fpr=ceiling, min_areas=settings.min_areas)


def _point(decision: Any) -> OperatingPoint:
    assert isinstance(decision, OperatingPoint)  # noqa: S101 - the bundle's document checks it
    return decision
