"""Making something disappear: inpainting, and filling from the surroundings patch by patch."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from media.forging.blending import compose, grown, soft_edge
from media.forging.chance import integer

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Filling = Literal["telea", "navier-stokes", "patches"]

SEARCH_SIDE = 128  # longest side at which matching patches are looked for, px
RING = 4  # known pixels around a patch that must match, px of the search copy
CANDIDATES = 2  # the place is drawn among this many best ones

Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def inpaint(rgb: Picture, hole: Mask, method: Filling) -> Picture:
    """Fill by diffusion: Telea 2004 or Bertalmio et al. 2001 (Navier-Stokes), both OpenCV's; smooth inside.

    Only a window around the hole is handed over, since the cost grows with the picture.
    """
    x0, y0, x1, y1 = _bounds(hole, 12)
    flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    window = cv2.inpaint(rgb[y0:y1, x0:x1], hole[y0:y1, x0:x1].astype(np.uint8), 4, flag)
    filled = rgb.copy()
    filled[y0:y1, x0:x1] = window
    return filled


def _bounds(mask: Mask, margin: int) -> Box:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    left, top = max(0, int(xs[0]) - margin), max(0, int(ys[0]) - margin)
    return left, top, min(width, int(xs[-1]) + 1 + margin), min(height, int(ys[-1]) + 1 + margin)


def _best_shift(rgb: NDArray[np.float32], known: Mask, part: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
    """Find whence a part of the hole can be taken: its surroundings must match, and the source must be known."""
    x0, y0, x1, y1 = _bounds(part, RING)
    missing = part[y0:y1, x0:x1]
    match = (known[y0:y1, x0:x1] & ~missing).astype(np.float32)
    if match.sum() < 4:
        return None
    template = rgb[y0:y1, x0:x1]
    cost = cv2.matchTemplate(rgb, template, cv2.TM_SQDIFF, mask=np.repeat(match[..., None], 3, axis=2))
    need = (missing | (match > 0)).astype(np.float32)
    holes = cv2.matchTemplate((~known).astype(np.float32), need, cv2.TM_CCORR)
    allowed = holes < 0.5
    if not allowed.any():
        return None
    cost = np.where(allowed & np.isfinite(cost), cost, np.inf)
    order = np.argpartition(cost.ravel(), min(CANDIDATES, cost.size - 1))[:CANDIDATES]
    order = order[np.isfinite(cost.ravel()[order])]
    if order.size == 0:
        return None
    chosen = int(order[integer(rng, (0, order.size - 1))])
    row, column = divmod(chosen, cost.shape[1])
    return column - x0, row - y0


def fill_from_surroundings(rgb: Picture, hole: Mask, rng: np.random.Generator) -> Picture | None:
    """Fill a hole with pieces of the picture whose surroundings match: texture and noise stay real.

    The hole is cut into cells, and from the border inwards each cell is copied from the place whose rim is most like
    the cell's own (exemplar-based, after Criminisi et al. 2004, with large patches as in shift-map editing, Pritch
    et al. 2009). Matching is done on a copy of at most ``SEARCH_SIDE`` px, copying at full size.

    Returns:
        The filled picture, or None where the picture has no room to take the patches from.
    """
    height, width = hole.shape
    factor = max(1.0, max(height, width) / SEARCH_SIDE)
    size = (max(8, round(width / factor)), max(8, round(height / factor)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small_hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    scale = np.array([width / size[0], height / size[1]])
    filled = rgb.copy()
    remaining = hole.copy()
    known = ~small_hole
    for part in _cells(small_hole, rng):
        shift = _best_shift(small, known, part, rng)
        if shift is None:
            return None
        source_y, source_x = np.nonzero(part)
        small[source_y, source_x] = small[source_y + shift[1], source_x + shift[0]]
        known = known | part
        dx, dy = (round(float(v)) for v in np.array(shift) * scale)
        whole = cv2.resize(part.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        # Neighbouring cells overlap by a soft edge, so that no grid of seams shows inside the hole.
        alpha = soft_edge(grown(whole & hole, 2), 1.0) * hole
        alpha = np.maximum(alpha, (whole & remaining).astype(np.float32))
        move = np.array([[1, 0, -dx], [0, 1, -dy]], dtype=np.float32)
        moved = cv2.warpAffine(filled, move, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        filled = compose(filled, np.asarray(moved, dtype=np.uint8), alpha)
        remaining &= ~whole
    return filled


def _cells(hole: Mask, rng: np.random.Generator) -> list[Mask]:
    """Cut a hole into cells of a drawn size, those nearest to its border first."""
    x0, y0, x1, y1 = _bounds(hole, 0)
    side = integer(rng, (12, 28))
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    offset_x, offset_y = integer(rng, (0, side - 1)), integer(rng, (0, side - 1))
    parts: list[tuple[float, int, Mask]] = []
    for y in range(y0 - offset_y, y1, side):
        for x in range(x0 - offset_x, x1, side):
            cell = np.zeros_like(hole)
            cell[max(0, y) : y + side, max(0, x) : x + side] = True
            cell &= hole
            if cell.any():
                parts.append((float(depth[cell].mean()), len(parts), cell))
    return [cell for _, _, cell in sorted(parts, key=lambda item: item[:2])]
