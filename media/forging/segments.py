"""Object-like regions of a photograph, found with OpenCV alone."""

import heapq
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from media.forging.chance import integer

Mask = NDArray[np.bool_]
Side = Literal["top", "bottom", "left", "right"]

WORK_SIDE = 256  # longest side at which pictures are segmented, px
TRIES = 3  # how many objects are compared
CUT_SIDE = 128  # the same for GrabCut, whose cost per pixel is far higher


def shrink(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the picture with its longest side at most ``side`` px."""
    height, width = rgb.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return rgb
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def enlarge(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Return the mask at ``shape`` (height, width) with its staircase smoothed out."""
    if mask.shape == shape:
        return mask
    soft = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(soft, (0, 0), max(0.5, shape[1] / mask.shape[1] / 2)) > 0.5)


def largest_part(mask: Mask) -> Mask:
    """Return the largest connected part, its holes filled."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, dtype=np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled > 0


@dataclass(frozen=True)
class Segmentation:
    """Watershed basins of a picture: ``labels`` int32 h×w of 1..n, and per label size, mean Lab and centre (x, y)."""

    labels: NDArray[np.int32]
    sizes: NDArray[np.float64]
    colours: NDArray[np.float64]
    centres: NDArray[np.float64]
    neighbours: list[set[int]]


def segment(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Segmentation:
    """Cut a small picture into watershed basins around jittered grid points, whose spacing is drawn."""
    small = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.0), dtype=np.uint8)
    height, width = small.shape[:2]
    spacing = integer(rng, (7, 16))
    ys, xs = np.mgrid[spacing // 2 : height : spacing, spacing // 2 : width : spacing]
    jitter = rng.integers(-(spacing // 3), spacing // 3 + 1, size=(2, *ys.shape))
    markers = np.zeros((height, width), dtype=np.int32)
    points = (np.clip(ys + jitter[0], 0, height - 1), np.clip(xs + jitter[1], 0, width - 1))
    markers[points] = np.arange(1, ys.size + 1).reshape(ys.shape)
    cv2.watershed(small, markers)
    # Watershed marks the lines between basins -1; give them to a neighbouring basin.
    spread = cv2.dilate(np.maximum(markers, 0).astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    labels = np.where(markers > 0, markers, np.maximum(spread, 1)).astype(np.int32)
    return _describe(small, labels)


def _describe(small: NDArray[np.uint8], labels: NDArray[np.int32]) -> Segmentation:
    count = int(labels.max()) + 1
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.float64)
    safe = np.maximum(sizes, 1)[:, None]
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    colours = np.stack([np.bincount(flat, lab[:, i], count) for i in range(3)], axis=1) / safe
    ys, xs = np.indices(labels.shape)
    centres = np.stack([np.bincount(flat, v.ravel(), count) for v in (xs, ys)], axis=1) / safe
    neighbours: list[set[int]] = [set() for _ in range(count)]
    pairs = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    codes = np.concatenate([a[a != b].astype(np.int64) * count + b[a != b] for a, b in pairs])
    for a, b in (divmod(code, count) for code in np.unique(codes).tolist()):
        neighbours[a].add(b)
        neighbours[b].add(a)
    return Segmentation(labels, sizes, colours, centres, neighbours)


def grow(cells: Segmentation, seeds: list[int], area: float, compactness: float) -> Mask:
    """Join basins to ``seeds``, the most alike first, until the region covers ``area`` (0..1 of the picture).

    ``compactness`` weighs the distance from the seeds, as a share of the picture's diagonal, against colour in Lab
    levels.
    """
    target = area * cells.labels.size
    diagonal = float(np.hypot(*cells.labels.shape))
    joined = set(seeds)
    covered = float(cells.sizes[seeds].sum())
    weights = cells.sizes[seeds][:, None]
    mean = (cells.colours[seeds] * weights).sum(axis=0) / max(1.0, weights.sum())
    start = cells.centres[seeds].mean(axis=0)
    spread = len(seeds) == 1  # a region grown from a whole side of the picture has no centre

    def cost(label: int) -> float:
        colour = float(np.linalg.norm(cells.colours[label] - mean))
        return colour + compactness * float(np.linalg.norm(cells.centres[label] - start)) / diagonal * spread

    queue = [(cost(b), b) for a in seeds for b in cells.neighbours[a] if b not in joined]
    heapq.heapify(queue)
    while queue and covered < target:
        _, label = heapq.heappop(queue)
        if label in joined:
            continue
        joined.add(label)
        size = float(cells.sizes[label])
        mean = (mean * covered + cells.colours[label] * size) / max(1.0, covered + size)
        covered += size
        for other in cells.neighbours[label] - joined:
            heapq.heappush(queue, (cost(other), other))
    return np.isin(cells.labels, list(joined))


def standing_out(rgb: NDArray[np.uint8], region: Mask) -> float:
    """Say how much a region looks like an object: Lab distance to its rim, less where it ends at the picture's border.

    Args:
        rgb: uint8 h×w×3.
        region: bool h×w.

    Returns:
        A score from 0 up; only its order means anything.
    """
    if not region.any() or region.all():
        return 0.0
    rim = cv2.dilate(region.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~region
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    contrast = float(np.linalg.norm(lab[region].mean(axis=0) - lab[rim].mean(axis=0))) if rim.any() else 0.0
    inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    outline = region & (inner == 0)
    border = int(outline[0].sum() + outline[-1].sum() + outline[:, 0].sum() + outline[:, -1].sum())
    return contrast * max(0.0, 1 - 3 * border / max(1, int(outline.sum())))


def object_region(rgb: NDArray[np.uint8], rng: np.random.Generator, area: float) -> Mask:
    """Return a region of about ``area`` (0..1) that follows the picture's own edges.

    Several are grown from basins that differ from their neighbours (flat sky makes poor objects), and the one that
    stands out most is taken.

    Returns:
        bool H×W, one connected part without holes.
    """
    small = shrink(rgb, WORK_SIDE)
    cells = segment(small, rng)
    present = np.flatnonzero(cells.sizes > 0)
    around = [cells.colours[list(cells.neighbours[i]) or [int(i)]].mean(axis=0) for i in present]
    shares = np.linalg.norm(np.array(around) - cells.colours[present], axis=1) + 1.0
    best, score = np.zeros(small.shape[:2], dtype=np.bool_), -1.0
    for _ in range(TRIES):
        seed = int(present[int(rng.choice(present.size, p=shares / shares.sum()))])
        region = grow(cells, [seed], area, compactness=float(rng.uniform(20, 200)))
        region = largest_part(cv2.medianBlur(region.astype(np.uint8), 5) > 0)
        if (found := standing_out(small, region)) > score:
            best, score = region, found
    return enlarge(best, rgb.shape[:2])


def border_region(rgb: NDArray[np.uint8], rng: np.random.Generator, area: float, side: Side) -> Mask:
    """Return a region of about ``area`` grown from one side of the picture: a sky, a floor, a background."""
    small = shrink(rgb, WORK_SIDE)
    cells = segment(small, rng)
    labels = cells.labels
    line = {"top": labels[0], "bottom": labels[-1], "left": labels[:, 0], "right": labels[:, -1]}[side]
    seeds = np.unique(line).tolist()
    region = grow(cells, seeds, area, compactness=0.0).astype(np.uint8)
    # Who swaps a background paints over the small gaps.
    closed = cv2.morphologyEx(region, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    return enlarge(largest_part(cv2.medianBlur(closed, 5) > 0), rgb.shape[:2])


def cut_out(rgb: NDArray[np.uint8], rng: np.random.Generator, box: tuple[int, int, int, int]) -> Mask:
    """Return what GrabCut takes for the foreground inside ``box`` (x, y, width, height) of a small picture.

    Rother et al. 2004, "GrabCut", as in OpenCV; two iterations.
    """
    height, width = rgb.shape[:2]
    x, y = max(1, box[0]), max(1, box[1])
    w, h = min(width - 2 - x, box[2]), min(height - 2 - y, box[3])
    if w < 4 or h < 4:
        return np.zeros((height, width), dtype=np.bool_)
    labels = np.zeros((height, width), dtype=np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(integer(rng, (0, 2**31 - 1)))  # GrabCut starts from k-means, which draws from OpenCV's generator
    cv2.grabCut(rgb, labels, (x, y, w, h), *models, 2, cv2.GC_INIT_WITH_RECT)
    region = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return largest_part(cv2.medianBlur(region.astype(np.uint8), 3) > 0)
