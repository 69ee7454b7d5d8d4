"""What an export chooses, all of it on val: temperatures, ensemble weights and operating points."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from components.export.recipe import ExportRecipe
from data.index import SampleIndex
from data.shards import ShardReader
from judging.calibration import DECIMALS, EnsembleWeights, PixelSampler, fit_temperature, fit_weights
from judging.collect import collect_statistics
from judging.faces import FaceMember, judge_media
from judging.media import collect_media
from judging.media_calibration import calibrate_media, choose_media_threshold
from judging.operating_point import Choice, choose_operating_point
from judging.predict import ENSEMBLE, Judged, Member, judge_index


@dataclass(frozen=True)
class Fitted:
    """What was chosen; ``choices`` has an entry for each member and one called ``ensemble``."""

    temperatures: Mapping[str, float]
    weights: EnsembleWeights
    choices: Mapping[str, Choice]


def fit(members: Sequence[Member], val: SampleIndex, reader: ShardReader, recipe: ExportRecipe) -> Fitted:
    """Judge val twice: once for temperatures and weights, once calibrated for the operating points.

    Args:
        members: at temperature 1, with unique names, on the device that the recipe says.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        recipe: what to fit and how.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks forged or authentic pictures; others when one cannot be read.
    """
    temperatures, weights = _calibrate(members, val, reader, recipe)
    calibrated = [
        replace(member, temperature=temperatures[member.name], weight=weights.weights[member.name])
        for member in members
    ]
    # A single member is its own ensemble.
    several = [ENSEMBLE] if len(members) > 1 else []
    judged = _judge(calibrated, val, reader, recipe, "operating point")
    statistics = collect_statistics(judged, [*temperatures, *several], recipe.min_areas)
    choices = {
        name: choose_operating_point(one, max_authentic_fpr=recipe.max_authentic_fpr, min_areas=recipe.min_areas)
        for name, one in statistics.items()
    }
    return Fitted(temperatures, weights, {ENSEMBLE: choices[members[0].name]} | choices)


def fit_faces(members: Sequence[FaceMember], val: SampleIndex, reader: ShardReader, recipe: ExportRecipe) -> Fitted:
    """Judge the media of val once and choose from their logits.

    Args:
        members: at temperature 1, with unique names, on the device that the recipe says.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        recipe: what to fit and how.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks authentic or manipulated media; others when one cannot be read.
    """
    judged = judge_media(
        members,
        val,
        reader,
        **recipe.judging.running(),
        progress="calibration",
    )
    media, names = collect_media(judged), [member.name for member in members]
    fitted = calibrate_media(media, names, temperatures=recipe.calibrate, weights=recipe.fit_weights)
    groups = {ENSEMBLE: fitted.members} | {name: {name: one} for name, one in fitted.members.items()}
    choices = {
        name: choose_media_threshold(media, group, rule=recipe.threshold, max_authentic_fpr=recipe.max_authentic_fpr)
        for name, group in groups.items()
    }
    return Fitted({name: one.temperature for name, one in fitted.members.items()}, fitted.weights, choices)


def _judge(
    members: Sequence[Member],
    val: SampleIndex,
    reader: ShardReader,
    recipe: ExportRecipe,
    label: str,
    *,
    keep_logits: bool = False,
) -> Iterator[Judged]:
    return judge_index(
        members,
        val,
        reader,
        **recipe.judging.running(),
        progress=label,
        keep_logits=keep_logits,
    )


def _calibrate(
    members: Sequence[Member], val: SampleIndex, reader: ShardReader, recipe: ExportRecipe
) -> tuple[dict[str, float], EnsembleWeights]:
    names = [member.name for member in members]
    equal = {name: round(1.0 / len(names), DECIMALS) for name in names}
    temperatures = dict.fromkeys(names, 1.0)
    weights = EnsembleWeights(equal, False, "equal, as the recipe says")
    if not recipe.calibrate and not recipe.fit_weights:
        return temperatures, weights
    sampler = PixelSampler(min(recipe.pixels_per_picture, max(2, recipe.max_pixels // max(len(val), 1))), recipe.seed)
    judged = _judge(members, val, reader, recipe, "calibration", keep_logits=True)
    for picture in judged:
        sampler.add(picture.row, picture.mask, picture.logits)
    sample = sampler.build()
    if recipe.calibrate:
        temperatures = {name: fit_temperature(sample, name) for name in names}
    return temperatures, fit_weights(sample, temperatures) if recipe.fit_weights else weights
