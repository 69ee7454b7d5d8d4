"""The three kinds of forgery, each as one edit of a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.forging.blending import (
    blur_seam,
    compose,
    grown,
    heal_seam,
    match_colours,
    match_noise,
    noise_level,
    ring,
    soft_edge,
)
from media.forging.chance import happens, integer, log_uniform, uniform, weighted
from media.forging.filling import Filling, fill_from_surroundings, inpaint
from media.forging.processing import FILTERS, apply, draw_colour
from media.forging.regions import LARGE, OBJECTS, REMOVED, Shape, draw_region
from media.forging.settings import EdgeSettings, ForgeSettings, Kind

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

CONTEXT = 16  # px around a region that travel with it, for soft edges and to measure its surroundings
OVERLAP = 0.6  # share of a copy that may lie where it was taken from
CUT_OFF = 0.6  # border of the picture that a region may touch, in units of the root of its area
PLACES = 8  # how many places are compared when a region is set down with care
# A copy and its source must both find room; larger holes cannot be filled in a way that anybody would believe.
LARGEST: dict[Kind, float] = {"copy-move": 0.3, "splice": 1.0, "removal": 0.2}
INPAINT_AREA = 0.05  # above this share of the picture diffusion leaves a plain blur that nobody would publish


@dataclass(frozen=True)
class Source:
    """Where regions come from: a photograph other than the host."""

    picture: Picture


@dataclass(frozen=True)
class Plan:
    """What an edit shall be, kept over all attempts, so that what fails more often does not come out less often.

    ``share`` is the area aimed at, 0..1 of the host; ``replace`` puts the donor in the place of a part of the host,
    where otherwise an object of the donor is set into it.
    """

    share: float
    replace: bool


@dataclass(frozen=True)
class Edit:
    """A picture after one edit, the mask of what changed (bool H×W), px of fading beyond it, and what was done."""

    picture: Picture
    mask: Mask
    margin: int
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """A region cut out with its context: ``picture`` h×w×3, ``region`` bool h×w, and how it was cut and turned."""

    picture: Picture
    region: Mask
    recipe: dict[str, Any]


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _draw_turn(rng: np.random.Generator, settings: ForgeSettings) -> dict[str, Any]:
    """Draw scale, rotation (degrees, small ones more often) and mirroring of a region, and the resampling filter."""
    turn: dict[str, Any] = {"scale": 1.0, "rotation": 0.0, "flip": happens(rng, settings.flip_probability)}
    if happens(rng, settings.rigid_probability):
        return turn
    if happens(rng, 0.75):
        turn["scale"] = log_uniform(rng, settings.scale)
    if happens(rng, 0.6):
        turn["rotation"] = round(settings.rotation * float(rng.uniform(-1, 1) * rng.uniform(0, 1)), 2)
    turn["filter"] = weighted(rng, {"linear": 3, "cubic": 3, "lanczos": 1, "nearest": 0.3})
    return turn


def _lift(picture: Picture, region: Mask, turn: dict[str, Any], shape: Shape) -> Piece:
    """Cut a region out of a picture and scale, rotate and mirror it."""
    x0, y0, x1, y1 = _bounds(region)
    scale, angle = turn["scale"], turn["rotation"]
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    linear = np.array([[c, s], [-s, c]])
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ linear.T
    low = np.floor(corners.min(axis=0)) - CONTEXT
    width, height = (int(v) for v in np.ceil(corners.max(axis=0)) - low + CONTEXT)
    matrix = np.hstack([linear, -low[:, None]])
    flags = FILTERS[turn.get("filter", "nearest")]
    content = cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    moved = cv2.warpAffine(region.astype(np.float32), matrix, (width, height), flags=cv2.INTER_LINEAR) > 0.5
    if turn["flip"]:
        content, moved = content[:, ::-1].copy(), moved[:, ::-1].copy()
    box = [x0, y0, x1 - x0, y1 - y0]
    return Piece(np.asarray(content, np.uint8), moved, {"shape": shape, "source_box": box, **turn})


def _window(piece: Piece, host: Picture, x: int, y: int) -> tuple[Piece, tuple[slice, slice]]:
    """Return what of a piece, set down with its corner at (x, y), lies inside the host, and where."""
    height, width = piece.region.shape
    left, top = max(0, x), max(0, y)
    right, bottom = min(host.shape[1], x + width), min(host.shape[0], y + height)
    inside = np.s_[top - y : bottom - y, left - x : right - x]
    cut = Piece(piece.picture[inside], piece.region[inside], piece.recipe)
    return cut, np.s_[top:bottom, left:right]


def _draw_place(rng: np.random.Generator, host: Picture, piece: Piece, careful: bool) -> tuple[int, int]:
    """Draw where a piece goes; with care, where its rim differs least from what lies there."""
    x0, y0, x1, y1 = _bounds(piece.region)
    # Up to a quarter of the region may leave the picture.
    xs = (-x0 - (x1 - x0) // 4, host.shape[1] - x1 + (x1 - x0) // 4)
    ys = (-y0 - (y1 - y0) // 4, host.shape[0] - y1 + (y1 - y0) // 4)
    places = [
        (integer(rng, (min(xs), max(xs))), integer(rng, (min(ys), max(ys)))) for _ in range(PLACES if careful else 1)
    ]

    def mismatch(place: tuple[int, int]) -> float:
        cut, where = _window(piece, host, *place)
        rim = ring(cut.region, 3)
        if not rim.any():
            return float("inf")
        return float(cv2.absdiff(cut.picture, host[where])[rim].mean())

    return min(places, key=mismatch) if careful else places[0]


def _draw_edge(rng: np.random.Generator, edge: EdgeSettings) -> tuple[str, float]:
    style = weighted(rng, {"hard": edge.hard, "antialiased": edge.antialiased, "feathered": edge.feathered})
    if style == "feathered":
        return style, log_uniform(rng, edge.feather)
    return style, 0.5 if style == "antialiased" else 0.0


def _set_in(
    rng: np.random.Generator,
    host: Picture,
    piece: Piece,
    where: tuple[slice, slice],
    settings: ForgeSettings,
    *,
    loose: bool = True,
    foreign: bool = True,
) -> Edit | None:
    """Set a piece into the host: colours, noise, seam, edge.

    ``loose``: the cut may miss the region's outline by some px. ``foreign``: its colours may differ or be adapted.
    """
    under = host[where]
    content, region = piece.picture, piece.region
    recipe = dict(piece.recipe)
    if loose and (pixels := integer(rng, settings.edge.grow)):
        region = grown(region, pixels)
        recipe["grow"] = pixels
    if not region.any():
        return None
    around = ring(region, CONTEXT // 2)
    if foreign and happens(rng, settings.retouch_probability):
        retouch = draw_colour(rng, 1.2)
        content = apply(content, [retouch])
        recipe["retouch"] = {key: value for key, value in retouch.items() if key != "step"}
    if foreign and happens(rng, settings.colour_match_probability):
        recipe["colour_match"] = uniform(rng, (0.2, 0.8))
        content = match_colours(content, region, under, around, recipe["colour_match"])
    if happens(rng, settings.heal_probability):
        recipe["healed"] = True
        content = heal_seam(content, region, under)
    if happens(rng, settings.noise_match_probability):
        target = noise_level(under, around)
        recipe["noise_match"] = round(target, 3)
        content = match_noise(content, region, target, rng)
    recipe["edge"], sigma = _draw_edge(rng, settings.edge)
    if recipe["edge"] == "feathered":
        recipe["feather"] = sigma
    alpha = soft_edge(region, sigma)
    window = compose(under, content, alpha)
    mask = alpha > 0.5
    margin = int(np.ceil(3 * sigma)) + 1
    if happens(rng, settings.edge.blur_probability):
        band = integer(rng, (1, 3))
        recipe["seam_blur"] = {"sigma": log_uniform(rng, settings.edge.blur), "width": band}
        window = blur_seam(window, mask, recipe["seam_blur"]["sigma"], band)
        margin = max(margin, band + 2)
    # What is thinner than its feather falls out of the mask, and must then not be changed either.
    window = np.where(grown(mask, margin)[..., None], window, under)
    picture, whole = host.copy(), np.zeros(host.shape[:2], dtype=np.bool_)
    picture[where] = window
    whole[where] = mask
    recipe["box"] = [where[1].start, where[0].start, window.shape[1], window.shape[0]]
    return Edit(picture, whole, margin, recipe)


def draw_plan(rng: np.random.Generator, kind: Kind, settings: ForgeSettings) -> Plan:
    """Draw the size of a forged region, and for a splice its manner."""
    if kind == "splice" and happens(rng, settings.replace_probability):
        return Plan(uniform(rng, settings.large_area), True)
    low, high = settings.area
    bounds = (low, max(low, min(high, LARGEST[kind])))
    wide = kind != "removal" and happens(rng, settings.wide_probability)
    return Plan(uniform(rng, bounds) if wide else log_uniform(rng, bounds), False)


def _draw_object(rng: np.random.Generator, picture: Picture, share: float, turn: dict[str, Any]) -> Piece | None:
    shape = weighted(rng, OBJECTS)
    region = draw_region(rng, picture, shape, min(0.5, share))
    edges = region[0].sum() + region[-1].sum() + region[:, 0].sum() + region[:, -1].sum()
    # What its own picture cuts off would show a straight edge in the new place.
    if not region.any() or edges > CUT_OFF * np.sqrt(region.sum()):
        return None
    return _lift(picture, region, turn, shape)


def copy_move(
    rng: np.random.Generator, host: Picture, donor: Source | None, plan: Plan, settings: ForgeSettings
) -> Edit | None:
    """Copy a region of the host to another place in it."""
    del donor
    turn = _draw_turn(rng, settings)
    piece = _draw_object(rng, host, plan.share / turn["scale"] ** 2, turn)
    if piece is None or not piece.region.any():
        return None
    x, y = _draw_place(rng, host, piece, careful=happens(rng, 0.5))
    cut, where = _window(piece, host, x, y)
    edit = _set_in(rng, host, cut, where, settings) if cut.region.any() else None
    if edit is None:
        return None
    left, top, width, height = edit.recipe["source_box"]
    source = np.zeros_like(edit.mask)
    source[top : top + height, left : left + width] = True
    return edit if (edit.mask & source).sum() <= OVERLAP * edit.mask.sum() else None


def _insert(
    rng: np.random.Generator, host: Picture, donor: Source, share: float, settings: ForgeSettings
) -> Edit | None:
    """Set an object of the donor into the host."""
    turn = _draw_turn(rng, settings)
    ratio = host.shape[0] * host.shape[1] / (donor.picture.shape[0] * donor.picture.shape[1])
    if "filter" in turn:
        turn["scale"] = round(turn["scale"] * min(2.0, max(0.5, ratio**0.5)), 4)
    piece = _draw_object(rng, donor.picture, share * ratio / turn["scale"] ** 2, turn)
    if piece is None or not piece.region.any():
        return None
    x, y = _draw_place(rng, host, piece, careful=happens(rng, 0.35))
    cut, where = _window(piece, host, x, y)
    return _set_in(rng, host, cut, where, settings) if cut.region.any() else None


def _replace(
    rng: np.random.Generator, host: Picture, donor: Source, share: float, settings: ForgeSettings
) -> Edit | None:
    """Put the donor where a large part of the host was: another background, another half."""
    shape = weighted(rng, LARGE)
    region = draw_region(rng, host, shape, share)
    if not region.any():
        return None
    x0, y0, x1, y1 = _bounds(region)
    x0, y0 = max(0, x0 - CONTEXT), max(0, y0 - CONTEXT)
    x1, y1 = min(host.shape[1], x1 + CONTEXT), min(host.shape[0], y1 + CONTEXT)
    height, width = y1 - y0, x1 - x0
    picture = donor.picture
    recipe: dict[str, Any] = {"shape": shape, "scale": 1.0, "rotation": 0.0}
    recipe["flip"] = happens(rng, settings.flip_probability)
    cover = max(height / picture.shape[0], width / picture.shape[1])
    if cover > 1 or not happens(rng, settings.rigid_probability):
        recipe["scale"] = round(max(cover, log_uniform(rng, settings.scale)), 4)
        recipe["filter"] = weighted(rng, {"linear": 1, "cubic": 1, "area": 1})
        wide, high = (round(side * recipe["scale"]) for side in (picture.shape[1], picture.shape[0]))
        size = (max(width, wide), max(height, high))
        picture = np.asarray(cv2.resize(picture, size, interpolation=FILTERS[recipe["filter"]]), np.uint8)
    if recipe["flip"]:
        picture = picture[:, ::-1]
    x, y = integer(rng, (0, picture.shape[1] - width)), integer(rng, (0, picture.shape[0] - height))
    recipe["source_box"] = [x, y, width, height]  # in the donor after scaling and mirroring
    content = np.ascontiguousarray(picture[y : y + height, x : x + width])
    piece = Piece(content, region[y0:y1, x0:x1], recipe)
    return _set_in(rng, host, piece, np.s_[y0:y1, x0:x1], settings, loose=False)


def splice(
    rng: np.random.Generator, host: Picture, donor: Source | None, plan: Plan, settings: ForgeSettings
) -> Edit | None:
    """Set a region of another photograph into the host."""
    if donor is None:
        return None
    return (_replace if plan.replace else _insert)(rng, host, donor, plan.share, settings)


def removal(
    rng: np.random.Generator, host: Picture, donor: Source | None, plan: Plan, settings: ForgeSettings
) -> Edit | None:
    """Paint a region of the host over with what surrounds it."""
    del donor
    shape = weighted(rng, REMOVED)
    hole = grown(draw_region(rng, host, shape, plan.share), integer(rng, (1, 4)))
    share = float(hole.mean())
    if share == 0 or share > 2 * LARGEST["removal"]:
        return None
    weights: dict[Filling, float] = {"patches": 1.0}
    if share < INPAINT_AREA:
        weights |= {"telea": 0.5, "navier-stokes": 0.5}
    method = weighted(rng, weights)
    filled = fill_from_surroundings(host, hole, rng) if method == "patches" else inpaint(host, hole, method)
    if filled is None:
        return None
    x0, y0, x1, y1 = _bounds(hole)
    where = np.s_[max(0, y0 - CONTEXT) : y1 + CONTEXT, max(0, x0 - CONTEXT) : x1 + CONTEXT]
    piece = Piece(filled[where], hole[where], {"shape": shape, "method": method})
    return _set_in(rng, host, piece, where, settings, loose=False, foreign=False)


Editor = Callable[[np.random.Generator, Picture, Source | None, Plan, ForgeSettings], Edit | None]
EDITORS: dict[Kind, Editor] = {
    "copy-move": copy_move,
    "splice": splice,
    "removal": removal,
}
