"""What an export chooses, all of it on val: temperatures, ensemble weights and operating points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from components.export.recipe import ExportRecipe
from components.judging.calibration import DECIMALS, EnsembleWeights, PixelSampler, fit_temperature, fit_weights
from components.judging.operating_point import Choice, choose_operating_point
from components.judging.predict import ENSEMBLE, Member, judge_index
from components.judging.statistics import StatisticsCollector
from media.index import SampleIndex
from media.shards import ShardReader


@dataclass(frozen=True)
class Fitted:
    """What was chosen; ``choices`` has an entry for each member and one called ``ensemble``."""

    temperatures: Mapping[str, float]
    weights: EnsembleWeights
    choices: Mapping[str, Choice]


def fit(
    members: Sequence[Member], val: SampleIndex, reader: ShardReader, recipe: ExportRecipe, device: torch.device | str
) -> Fitted:
    """Judge val twice: once for temperatures and weights, once calibrated for the operating points.

    Args:
        members: at temperature 1, with unique names.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        recipe: what to fit and how.
        device: where the networks are.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: ``empty-class`` when val lacks forged or authentic pictures; others when one cannot be read.
    """
    temperatures, weights = _calibrate(members, val, reader, recipe, device)
    calibrated = [
        replace(member, temperature=temperatures[member.name], weight=weights.weights[member.name])
        for member in members
    ]
    collectors = {name: StatisticsCollector(recipe.min_areas) for name in [*temperatures, ENSEMBLE]}
    judged = judge_index(
        calibrated, val, reader, device=device, batch_size=recipe.batch_size, progress="operating point"
    )
    for picture in judged:
        maps = picture.probabilities
        for name, collector in collectors.items():
            # A single member is its own ensemble.
            collector.add(picture.row, picture.mask, maps[name] if name in maps else maps[members[0].name])
    choices = {
        name: choose_operating_point(
            collector.build(), max_authentic_fpr=recipe.max_authentic_fpr, min_areas=recipe.min_areas
        )
        for name, collector in collectors.items()
    }
    return Fitted(temperatures, weights, choices)


def _calibrate(
    members: Sequence[Member], val: SampleIndex, reader: ShardReader, recipe: ExportRecipe, device: torch.device | str
) -> tuple[dict[str, float], EnsembleWeights]:
    names = [member.name for member in members]
    equal = {name: round(1.0 / len(names), DECIMALS) for name in names}
    temperatures = dict.fromkeys(names, 1.0)
    weights = EnsembleWeights(equal, False, "equal, as the recipe says")
    if not recipe.calibrate and not recipe.fit_weights:
        return temperatures, weights
    sampler = PixelSampler(min(recipe.pixels_per_picture, max(2, recipe.max_pixels // max(len(val), 1))), recipe.seed)
    judged = judge_index(
        members, val, reader, device=device, batch_size=recipe.batch_size, progress="calibration", keep_logits=True
    )
    for picture in judged:
        sampler.add(picture.row, picture.mask, picture.logits)
    sample = sampler.build()
    if recipe.calibrate:
        temperatures = {name: fit_temperature(sample, name) for name in names}
    return temperatures, fit_weights(sample, temperatures) if recipe.fit_weights else weights
