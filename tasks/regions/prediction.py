"""Running members over the pictures of an index, in tiles at the pictures' own resolution.

A picture's probability map is computed as serving computes it: per tile sigmoid(logit / temperature), the tiles
blended, the members averaged with their weights. Tiles of several pictures share a batch, so small pictures fill it
too; pictures come back in the order of the index.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bundle.regions.analysis import MeanMap, blend_logits
from core.errors import BadInputError, SettingsError
from core.progress import counter
from data.index import SampleIndex
from data.shards import ShardReader
from data.stored import load_sample
from judging.running import inference_mode, read_ahead, require_precision
from media.picture_view import PictureView
from media.spec import InputSpec
from media.tiles import Plan, blend
from models.inputs import Normalize
from tasks.task import ENSEMBLE

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """One model that takes part in a prediction.

    Attributes:
        name: unique among the members of a pass.
        network: views by name in, logits [B, 1, S, S] out; in evaluation mode, on the device.
        input: how a picture becomes its input: one view of pictures, ``tiles`` or ``whole``.
        temperature: calibration; logits are divided by it.
        weight: its share in the ensemble, relative to the others'.
        normalise: whether views are normalised before; an exported network does that itself.
    """

    name: str
    network: nn.Module
    input: InputSpec
    temperature: float = 1.0
    weight: float = 1.0
    normalise: bool = True


@dataclass(frozen=True)
class Prediction:
    """What the members make of one picture.

    Attributes:
        row: its row of the index.
        rgb: the picture as it was predicted (degraded where that was asked for), uint8 [H, W, 3].
        mask: ground truth, bool [H, W].
        probabilities: of being forged, float32 [H, W] in 0..1, by member and by ensemble.
        logits: blended logits before temperature, float32 [H, W], by member; empty unless asked for.
    """

    row: dict[str, Any]
    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    probabilities: dict[str, Map]
    logits: dict[str, Map] = field(default_factory=dict)


@dataclass
class _Picture:
    """A picture on its way through the members."""

    row: dict[str, Any]
    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    tiles: list[list[NDArray[np.uint8]]]  # [C, S, S] each, by number of the view
    plans: list[Plan]  # by number of the view
    outputs: dict[str, Map]  # logits per tile, float32 [tiles, size, size], by member
    waiting: int  # tiles of all views that were not yet predicted


def ensemble_map(probabilities: Mapping[str, Map], weights: Mapping[str, float]) -> Map:
    """Return the weighted mean of the members' maps.

    Args:
        probabilities: float32 [H, W] by member.
        weights: by member, not negative, not all zero; members without one take no part.
    """
    total, mean = sum(weights.values()), MeanMap(next(iter(probabilities.values())).shape)
    for name, weight in weights.items():
        mean.add(probabilities[name], weight / total)
    return mean.result()


def predict_pictures(
    members: Sequence[Member],
    index: SampleIndex,
    reader: ShardReader,
    *,
    device: torch.device | str,
    batch_size: int = 8,
    precision: str = "fp32",
    degrade: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    progress: str | None = None,
    ensembles: Mapping[str, Sequence[str]] | None = None,
    keep_logits: bool = False,
    workers: int = 2,
    unreadable: Callable[[dict[str, Any], BadInputError], None] | None = None,
) -> Iterator[Prediction]:
    """Predict every picture of an index, in its order.

    Memory is bounded by ``batch_size`` + ``workers`` pictures whatever the length of the index.

    Args:
        members: at least one; those with the same view share the cut tiles.
        index: the rows to predict.
        reader: of the shards that ``index`` points into.
        device: where the networks are.
        batch_size: tiles a forward pass.
        precision: ``fp32`` (TF32 off) or ``bf16`` (autocast).
        degrade: applied to every picture before anything else.
        progress: label of the progress shown; None shows nothing.
        ensembles: names of members by the name of their ensemble; None makes one of all, called ``ensemble``, where
            there are several.
        keep_logits: also blend the logits, for calibration.
        workers: threads that read, decode and cut ahead.
        unreadable: called for a picture that cannot be decoded, which is then left out; None raises instead.

    Raises:
        BadInputError: when a picture cannot be decoded and ``unreadable`` is None.
        SettingsError: on an unknown precision, names that are not unique, or a view that is not of pictures.
        VeriframeError: when the device's memory does not suffice.
    """
    if ensembles is None:
        ensembles = {ENSEMBLE: [member.name for member in members]} if len(members) > 1 else {}
    _check(members, ensembles, precision)
    views = _views(members)
    engine = _Engine(members, views, torch.device(device), batch_size, precision)
    pictures: deque[_Picture] = deque()
    queues: list[deque[tuple[_Picture, int]]] = [deque() for _ in views]

    def load(row: dict[str, Any]) -> _Picture:
        sample = load_sample(row, reader)
        rgb = sample.rgb if degrade is None else degrade(sample.rgb)
        mask = np.zeros(rgb.shape[:2], dtype=np.bool_) if sample.mask is None else sample.mask
        return _prepare(row, rgb, mask, members, views)

    with counter(len(index), unit="pictures", label=progress or "", quiet=progress is None) as count:
        for row, loaded in read_ahead(load, index, workers):
            count.update()
            if isinstance(loaded, BadInputError):
                if unreadable is None:
                    raise loaded
                unreadable(row, loaded)
                continue
            pictures.append(loaded)
            for number, queue in enumerate(queues):
                queue.extend((loaded, tile) for tile in range(len(loaded.plans[number])))
                while len(queue) >= batch_size:
                    engine.run(number, [queue.popleft() for _ in range(batch_size)])
            while pictures and not pictures[0].waiting:
                yield _finish(pictures.popleft(), members, views, ensembles, keep_logits)
        for number, queue in enumerate(queues):
            while queue:
                engine.run(number, [queue.popleft() for _ in range(min(batch_size, len(queue)))])
        while pictures:
            yield _finish(pictures.popleft(), members, views, ensembles, keep_logits)


def _check(members: Sequence[Member], ensembles: Mapping[str, Sequence[str]], precision: str) -> None:
    require_precision(precision)
    names = [*(member.name for member in members), *ensembles]
    if not members or len(set(names)) != len(names):
        raise SettingsError(f"members and ensembles need unique names, got {', '.join(names) or 'none'}")


def _views(members: Sequence[Member]) -> list[PictureView]:
    """Return the views of the members, each once: those who share one share its tiles."""
    views: list[PictureView] = []
    for member in members:
        view = _view(member)
        if view not in views:
            views.append(view)
    return views


def _view(member: Member) -> PictureView:
    view = member.input.only
    if not isinstance(view, PictureView):
        raise SettingsError(f"input.views = {view.name}: {member.name} marks regions of whole pictures")
    return view


def _prepare(
    row: dict[str, Any],
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    members: Sequence[Member],
    views: Sequence[PictureView],
) -> _Picture:
    cut, plans = zip(*(view.tiles(rgb) for view in views), strict=True)
    outputs = {}
    for member in members:
        view = _view(member)
        outputs[member.name] = np.empty((len(plans[views.index(view)]), view.size, view.size), dtype=np.float32)
    return _Picture(row, rgb, mask, list(cut), list(plans), outputs, sum(len(plan) for plan in plans))


class _Engine:
    """Runs batches of tiles through every member that reads their view."""

    def __init__(
        self,
        members: Sequence[Member],
        views: Sequence[PictureView],
        device: torch.device,
        batch_size: int,
        precision: str,
    ) -> None:
        self._readers = [[member for member in members if _view(member) == view] for view in views]
        self._views = views
        self._device = device
        self._batch_size = batch_size
        self._precision = precision
        self._normalize = {
            member.name: Normalize(member.input).to(device) if member.normalise else nn.Identity() for member in members
        }

    def run(self, view: int, batch: Sequence[tuple[_Picture, int]]) -> None:
        """Predict a batch of (picture, tile number) of the view of a number and put the logits into the pictures."""
        # Channels last, as the picture's planes lie and as convolutions are fastest.
        pixels = np.stack([picture.tiles[view][tile].transpose(1, 2, 0) for picture, tile in batch])
        for member in self._readers[view]:
            for (picture, tile), logits in zip(batch, self._forward(member, self._views[view], pixels), strict=True):
                picture.outputs[member.name][tile] = logits
        for picture, _ in batch:
            picture.waiting -= 1

    def _forward(self, member: Member, view: PictureView, pixels: NDArray[np.uint8]) -> Map:
        with inference_mode(self._device, self._precision, f"{self._batch_size} tiles of {view.size} px"):
            # A permuted view of [B, H, W, C] is the channels-last layout; no copy is made.
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device, non_blocking=True)
            output = member.network(self._normalize[member.name](dict.fromkeys(member.input.views, batch)))
            return np.asarray(output.float().squeeze(1).cpu().numpy(), dtype=np.float32)


def _finish(
    picture: _Picture,
    members: Sequence[Member],
    views: Sequence[PictureView],
    ensembles: Mapping[str, Sequence[str]],
    keep_logits: bool,
) -> Prediction:
    probabilities, logits = {}, {}
    for member in members:
        output, plan = picture.outputs.pop(member.name), picture.plans[views.index(_view(member))]
        probabilities[member.name] = blend_logits(output[:, None], plan, member.temperature)
        if keep_logits:
            logits[member.name] = blend(output, plan)
    for name, names in ensembles.items():
        weights = {member.name: member.weight for member in members if member.name in names}
        probabilities[name] = ensemble_map(probabilities, weights)
    return Prediction(picture.row, picture.rgb, picture.mask, probabilities, logits)
