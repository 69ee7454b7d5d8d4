"""Forging one photograph: history, one or two edits, finish.

A forged picture and its authentic twin of the same seed go through the same history and the same finish. What a
network can tell them apart by is then the forging alone, not resizing, colour, noise or compression, which the twin
has as well.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from media.forging.blending import visible_difference
from media.forging.chance import derive_seed, happens, weighted
from media.forging.edits import EDITORS, Edit, Source, draw_plan
from media.forging.processing import Step, apply, apply_to_mask, draw_fit, draw_processing, encode_jpeg
from media.forging.settings import ForgeSettings, Kind, ProcessingSettings
from media.pictures import decode_picture, encode_png

Picture = NDArray[np.uint8]

RECIPE_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """A picture as it leaves: ``image`` uint8 H×W×3 RGB is what ``data`` (a file ending in ``suffix``) decodes to."""

    image: Picture
    data: bytes
    suffix: str
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Forged(Finished):
    """A forged picture with its exact mask, bool H×W, True where the picture was changed by more than half.

    ``margin`` is how far, in px before the finish, the change fades out beyond the mask.
    """

    mask: NDArray[np.bool_]
    margin: int


def require_usable(rgb: Picture, settings: ForgeSettings) -> None:
    """Check that a photograph can be forged.

    Raises:
        BadInputError: ``not-rgb`` or ``too-small``.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise BadInputError("not-rgb", f"expected uint8 H×W×3, got {rgb.dtype} {rgb.shape}")
    if min(rgb.shape[:2]) < settings.min_side:
        size = f"{rgb.shape[1]}×{rgb.shape[0]}"
        raise BadInputError("too-small", f"{size} px; the shorter side must have at least {settings.min_side}")


def _draw(
    rng: np.random.Generator, rgb: Picture, processing: ProcessingSettings, settings: ForgeSettings
) -> list[Step]:
    return draw_processing(rng, processing, (rgb.shape[0], rgb.shape[1]), settings.min_side, settings.max_side)


def _with_history(rng: np.random.Generator, rgb: Picture, settings: ForgeSettings) -> tuple[Picture, list[Step]]:
    fit = draw_fit(rng, (rgb.shape[0], rgb.shape[1]), settings.min_side, settings.max_side)
    fitted = apply(rgb, fit)
    steps = _draw(rng, fitted, settings.history, settings)
    return apply(fitted, steps), fit + steps


def _finish(picture: Picture, steps: list[Step]) -> tuple[Picture, bytes, str]:
    if steps and steps[-1]["step"] == "jpeg":
        last = steps[-1]
        data = encode_jpeg(apply(picture, steps[:-1]), last["quality"], last["sampling"])
        return decode_picture(data), data, ".jpg"
    picture = apply(picture, steps)
    return picture, encode_png(picture), ".png"


def _processing(rgb: Picture, settings: ForgeSettings, seed: int) -> tuple[Picture, list[Step], list[Step]]:
    """Return the host after its history, the history, and the finish: functions of photograph, settings and seed."""
    rng = np.random.default_rng(derive_seed(seed, "processing"))
    host, history = _with_history(rng, rgb, settings)
    return host, history, _draw(rng, host, settings.finish, settings)


def _edit(
    rng: np.random.Generator, host: Picture, donor: Source | None, kind: Kind, settings: ForgeSettings
) -> Edit | None:
    plan = draw_plan(rng, kind, settings)
    for _ in range(settings.attempts):
        edit = EDITORS[kind](rng, host, donor, plan, settings)
        if edit is None:
            continue
        share = float(edit.mask.mean())
        changed = visible_difference(host, edit.picture, edit.mask)
        if share >= settings.area[0] / 2 and share <= 0.6 and changed >= settings.min_difference:
            edit.recipe.update(area=round(share, 5), difference=round(changed, 2))
            return edit
    return None


def _kinds(rng: np.random.Generator, donor: Picture | None, settings: ForgeSettings) -> list[Kind]:
    """Return the drawn kind first, then the others, to be tried where the photograph does not lend itself to it."""
    weights = {kind: weight for kind, weight in settings.weights.items() if weight > 0}
    if donor is None:
        weights.pop("splice", None)
    if not weights:
        raise BadInputError("no-donor", "a splice needs a second photograph, and no other kind is allowed")
    first = weighted(rng, weights)
    return [first, *(kind for kind in weights if kind != first)]


def forge(target: Picture, donor: Picture | None, settings: ForgeSettings, seed: int) -> Forged:
    """Forge a photograph.

    Args:
        target: uint8 H×W×3 RGB, the photograph to be forged.
        donor: uint8 H×W×3 RGB, another photograph a region may come from; None leaves splices out.
        settings: what may be drawn.
        seed: with the same inputs and settings, the same seed gives the same bytes.

    Returns:
        The forged picture with its mask. Its ``recipe`` goes into JSON: ``kind``, ``seed``, ``history`` and
        ``donor_history`` (processing before), ``edits`` (what was done where), ``finish`` (processing after).

    Raises:
        BadInputError: ``not-rgb``, ``too-small``, ``no-donor``, or ``nothing-to-forge`` where no attempt changed the
            photograph visibly (an empty sky, a blank page).
    """
    require_usable(target, settings)
    host, history, finish = _processing(target, settings, seed)
    rng = np.random.default_rng(derive_seed(seed, "edit"))
    source = None
    donor_history: list[Step] = []
    if donor is not None:
        require_usable(donor, settings)
        processed, donor_history = _with_history(rng, donor, settings)
        source = Source(processed)
    for kind in _kinds(rng, donor, settings):
        edit = _edit(rng, host, source, kind, settings)
        if edit is not None:
            break
    else:
        raise BadInputError("nothing-to-forge", f"no visible forgery in {settings.attempts} attempts of each kind")
    edits, picture, mask = [edit], edit.picture, edit.mask
    if happens(rng, settings.second_probability):
        second = _edit(rng, picture, source, kind, settings)
        if second is not None and (mask | second.mask).mean() <= 0.6:
            edits, picture, mask = [edit, second], second.picture, mask | second.mask
    image, data, suffix = _finish(picture, finish)
    recipe: dict[str, Any] = {
        "version": RECIPE_VERSION,
        "kind": kind,
        "seed": seed,
        "history": history,
        "donor_history": donor_history if kind == "splice" else [],
        "edits": [entry.recipe for entry in edits],
        "finish": finish,
    }
    margin = max(entry.margin for entry in edits)
    return Forged(image, data, suffix, recipe, apply_to_mask(mask, finish), margin)


def authentic_twin(target: Picture, settings: ForgeSettings, seed: int) -> Finished | None:
    """Give a photograph the history and the finish of the forgery of the same seed, and no forging.

    Returns:
        The twin, or None where it is the photograph itself, whose own bytes then serve: nothing was drawn, or it is
        among the share that ``authentic_as_forged`` leaves alone.

    Raises:
        BadInputError: ``not-rgb`` or ``too-small``.
    """
    require_usable(target, settings)
    host, history, finish = _processing(target, settings, seed)
    processed = happens(np.random.default_rng(derive_seed(seed, "authentic")), settings.authentic_as_forged)
    if not processed or not (history or finish):
        return None
    image, data, suffix = _finish(host, finish)
    recipe = {"version": RECIPE_VERSION, "kind": "authentic", "seed": seed, "history": history, "finish": finish}
    return Finished(image, data, suffix, recipe)
