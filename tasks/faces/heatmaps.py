"""Evaluating heatmaps against known masks: those of pseudo-fakes, made from the authentic faces of a split.

Two figures, which need no threshold of a map's own and so treat every map alike:

* The pointing game (J. Zhang et al., Top-down Neural Attention by Excitation Backprop, 2016) without tolerance: whether
  a map's maximum lies in the mask. Of several equal maxima the share that does counts.
* IoU at matched area: as many pixels are marked as the mask has, those of the highest values, which asks how well a map
  ranks the pixels. It knows the size of what is to be found, and is no figure of detection.

Maps are first scaled to the input's size, linearly, as they are shown. Masks lie mostly in the middle of a face, so a
map that always points there (``CENTRE``) is evaluated beside the network's: what a map is worth is what it gains
on that. Where only a part of the face was blended in (``small``), that map has little to win.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import BadInputError
from data.index import SampleIndex
from data.labels import AUTHENTIC
from data.shards import ShardReader
from data.stored import load_sample
from judging.bootstrap import Bootstrap, Groups, Weights, intervals
from judging.overlays import encode_jpeg, heat_overlay, side_by_side, truth_overlay
from judging.ratios import ratio
from judging.report import Figure
from judging.running import inference_mode, read_ahead
from media.extraction import FaceSpec
from media.selfblend.blend import self_blend
from media.spec import InputSpec
from media.view import stack
from tasks.faces.heatmap_models import HeatmapModel

CENTRE = "centre"  # the map that looks at no picture
SMALL = 0.2  # share of the face crop below which a mask is small
CENTRE_WIDTH = 0.2  # standard deviation of its bump, of the side
DETECTED_LOGIT = 0.0  # a probability of 0.5, from which a pseudo-fake counts as detected
SMALLEST = 1e-6  # of a map's values that is drawn as marked
FIGURES = ("pointing", "iou")
SIDE = 200  # px, one picture of the gallery

Map = NDArray[np.float32]


@dataclass(frozen=True)
class PseudoFake:
    """A pseudo-fake as a network sees it.

    Attributes:
        row: of the authentic face it was made from.
        arrays: by view; None where an optional view has nothing to show.
        rgb: what the heatmap is of, the picture of ``InputSpec.mapped``, uint8 [S, S, 3].
        mask: what was blended in there, bool [S, S].
    """

    row: dict[str, Any]
    arrays: Mapping[str, NDArray[Any] | None]
    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class HeatmapEvaluation:
    """What heatmaps are worth.

    Attributes:
        figures: plain JSON values: ``pictures``, ``detected`` (the share whose own probability is at least 0.5),
            ``maps`` by name, and ``gains`` of the first map over each other one. Each map and gain has ``all``,
            ``detected`` (over the pseudo-fakes that the network detects) and ``small`` (over those with a small mask),
            None where there is none of them; and each of these has ``pictures``, ``pointing``, ``iou`` and their
            ``intervals``. Gains are paired differences.
        gallery: overlays, one figure a picture.
    """

    figures: dict[str, Any]
    gallery: list[Figure]


def evaluate_heatmaps(
    model: HeatmapModel,
    index: SampleIndex,
    reader: ShardReader,
    *,
    seed: int,
    count: int,
    device: torch.device | str,
    batch_size: int = 8,
    precision: str = "fp32",
    workers: int = 2,
    bootstrap: Bootstrap | None = None,
    gallery: int = 12,
) -> HeatmapEvaluation:
    """Evaluate the heatmaps of a classifier of faces, which are maps of its first view.

    Args:
        model: makes the heatmaps; on the device.
        index: rows of a split; of the authentic ones ``count`` are drawn by ``seed``.
        reader: of the shards that ``index`` points into.
        seed: of the draw and of the blending, which depends on it and the sample alone.
        count: faces to draw at most; each becomes a pseudo-fake, which counts where the network's view shows some of
            what was blended in.
        device: where the network is.
        batch_size: faces a forward pass.
        precision: ``fp32`` or ``bf16``.
        workers: threads that read and blend ahead.
        bootstrap: how intervals by group are drawn; None is the default of ``Bootstrap``.
        gallery: how many pictures to show: the first of the draw, not the best.

    Raises:
        BadInputError: ``no-samples`` when there is no authentic face, ``no-faces`` when the index does not say how its
            faces were cut; or a face cannot be read.
    """
    drawn, faces = _draw(index, seed, count)
    scores: dict[str, list[tuple[float, float]]] = {}
    logits: list[float] = []
    groups: list[str] = []
    areas: list[float] = []
    shown: list[Figure] = []
    made = _pseudo_fakes(drawn, reader, faces, model.input, seed, workers)
    for batch in _batches(made, batch_size):
        found, maps = _predict(model, batch, torch.device(device), precision)
        logits += found
        groups += [fake.row["group_id"] for fake in batch]
        areas += [float(fake.mask.mean()) for fake in batch]
        for number, fake in enumerate(batch):
            own = {name: one[number] for name, one in maps.items()} | {CENTRE: centre_map(len(fake.mask))}
            for name, heat in own.items():
                scores.setdefault(name, []).append((pointing(heat, fake.mask), matched_iou(heat, fake.mask)))
            if len(shown) < gallery:
                shown.append(_figure(fake, own))
    if not logits:
        raise BadInputError("no-samples", f"the view of {model.name} shows nothing of what was blended into any face")
    kept = {
        "all": np.ones(len(logits), dtype=np.bool_),
        "detected": np.array(logits) >= DETECTED_LOGIT,
        "small": np.array(areas) < SMALL,
    }
    results = {name: np.array(values) for name, values in scores.items()}
    return HeatmapEvaluation(_figures(results, kept, np.array(groups), bootstrap or Bootstrap()), shown)


def pointing(heat: Map, mask: NDArray[np.bool_]) -> float:
    """Return whether the maximum of a map [S, S] lies in the mask: 1 or 0, or the share of several maxima that do."""
    return float(mask[heat == heat.max()].mean())


def matched_iou(heat: Map, mask: NDArray[np.bool_]) -> float:
    """Return the IoU of a mask [S, S] and as many pixels of highest value; the mask has at least one.

    Of pixels that tie for the last places each counts by its chance of one, so that a map that says nothing has the
    IoU of guessing.
    """
    area, level = int(mask.sum()), matched_level(heat, mask)
    above, tied = heat > level, heat == level
    overlap = float((above & mask).sum() + (area - int(above.sum())) * mask[tied].mean())
    return overlap / (2 * area - overlap)


def matched_level(heat: Map, mask: NDArray[np.bool_]) -> float:
    """Return the level from which a map marks as many pixels as the mask has, or, where pixels tie, more."""
    place = heat.size - int(mask.sum())
    return float(np.partition(heat.ravel(), place)[place])


def centre_map(side: int) -> Map:
    """Return a Gaussian bump in the middle, float32 [side, side], its maximum 1."""
    line = cv2.getGaussianKernel(side, CENTRE_WIDTH * side, cv2.CV_32F)
    bump = line @ line.T
    return np.asarray(bump / bump.max(), dtype=np.float32)


def _draw(index: SampleIndex, seed: int, count: int) -> tuple[SampleIndex, FaceSpec]:
    faces = index.spec.extraction.faces
    if faces is None:
        raise BadInputError(
            "no-faces", "heatmaps are evaluated on faces, but the index holds whole pictures; extract face crops"
        )
    authentic = index.where(label=AUTHENTIC)
    if not len(authentic):
        raise BadInputError("no-samples", "heatmaps are evaluated on authentic faces, and the split has none")
    rows = np.random.default_rng(seed).permutation(len(authentic))[:count]
    return SampleIndex(authentic.table.take(rows), index.spec, index.shards, index.sha256), faces


def _pseudo_fakes(
    index: SampleIndex, reader: ShardReader, faces: FaceSpec, read: InputSpec, seed: int, workers: int
) -> Iterator[PseudoFake]:
    def make(row: dict[str, Any]) -> PseudoFake | None:
        own = np.random.SeedSequence((seed, int(row["sample_id"], 16))).generate_state(1, np.uint64)
        blended = self_blend(load_sample(row, reader), faces.margin, int(own[0]))
        shown = read.views[read.mapped].show(blended)
        if shown is None or shown.mask is None:
            return None
        arrays = {name: view.cut(blended) for name, view in read.views.items()}
        return PseudoFake(row, arrays, np.ascontiguousarray(shown.array[:3].transpose(1, 2, 0)), shown.mask)

    for _, fake in read_ahead(make, index, workers):
        if isinstance(fake, BadInputError):
            raise fake
        if fake is not None and fake.mask.any():
            yield fake


def _batches(fakes: Iterator[PseudoFake], size: int) -> Iterator[list[PseudoFake]]:
    batch: list[PseudoFake] = []
    for fake in fakes:
        batch.append(fake)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _predict(
    model: HeatmapModel, batch: Sequence[PseudoFake], device: torch.device, precision: str
) -> tuple[list[float], dict[str, NDArray[np.float32]]]:
    """Return the logits, and each map scaled to its view's size, float32 [B, S, S] in 0..1 by name."""
    views = model.input.views
    shape = views[model.input.mapped].mask_shape
    with inference_mode(device, precision, f"{len(batch)} faces"):
        arrays = stack(views, [fake.arrays for fake in batch])
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        found, heat = model(inputs)
        logits = found.float().squeeze(1).cpu().tolist()
        maps = {
            name: torch.nn.functional.interpolate(one.float(), size=shape, mode="bilinear")
            for name, one in heat.items()
        }
        return logits, {name: one.squeeze(1).cpu().numpy() for name, one in maps.items()}


def _figures(
    results: Mapping[str, NDArray[np.float64]],
    kept: Mapping[str, NDArray[np.bool_]],
    groups: NDArray[np.str_],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    def by_stratum(values: NDArray[np.float64]) -> dict[str, Any]:
        return {
            name: _means(values[keep], groups[keep], bootstrap) if keep.any() else None for name, keep in kept.items()
        }

    first, *others = results
    return {
        "pictures": len(groups),
        "detected": float(kept["detected"].mean()),
        "maps": {name: by_stratum(values) for name, values in results.items()},
        "gains": {name: by_stratum(results[first] - results[name]) for name in others},
    }


def _means(values: NDArray[np.float64], groups: NDArray[np.str_], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the mean of each column [N, figures] with its interval."""
    unit = Groups.of(groups)
    sums = np.column_stack([unit.sums(column) for column in (*values.T, np.ones(len(values)))])

    def means(weights: Weights) -> dict[str, NDArray[np.float64]]:
        *columns, total = (weights @ sums).T
        return {name: ratio(column, total) for name, column in zip(FIGURES, columns, strict=True)}

    found = intervals(means, unit, bootstrap)
    plain = {name: float(value[0]) for name, value in means(unit.once).items()}
    return {"pictures": len(values), **plain, "intervals": {name: list(interval) for name, interval in found.items()}}


def _figure(fake: PseudoFake, maps: Mapping[str, Map]) -> Figure:
    drawn, captions = [truth_overlay(fake.rgb, fake.mask, max_side=SIDE)], []
    for name, heat in maps.items():
        if name == CENTRE:
            continue
        # Where a map is zero it marks nothing, however large the mask is.
        level = min(max(matched_level(heat, fake.mask), SMALLEST), 1.0)
        shown = np.clip(heat, 0, 1)
        drawn.append(heat_overlay(fake.rgb, shown, shown >= np.float64(level), fake.mask, max_side=SIDE))
        captions.append(f"{name} IoU {matched_iou(heat, fake.mask):.2f}")
    return Figure(encode_jpeg(side_by_side(drawn)), f"{fake.row['media_id']} · {' · '.join(captions)}", "image/jpeg")
