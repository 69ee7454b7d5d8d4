"""Running members over the pictures of an index, in tiles at the pictures' own resolution.

A picture's probability map is computed as serving computes it: per tile sigmoid(logit / temperature), the tiles
blended, the members averaged with their weights. Tiles of several pictures share a batch, so small pictures fill it
too; pictures come back in the order of the index.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.errors import BadInputError, SettingsError, VeriframeError, unknown_name
from core.progress import counter
from data.datasets import load_sample
from data.index import SampleIndex
from data.shards import ShardReader
from media import tiles
from media.inputs import network_planes
from media.spec import InputSpec
from models.inputs import Normalize

ENSEMBLE = "ensemble"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROWS_AT_ONCE = 1024  # rows of the index that are Python objects at a time

Map = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """One model that takes part in judging.

    Attributes:
        name: unique among the members judged together.
        network: normalised float32 [B,C,S,S] in, logits [B,1,S,S] out; in eval mode, on the device.
        input: how a picture becomes its input.
        temperature: calibration; logits are divided by it.
        weight: its share in the ensemble, relative to the others'.
    """

    name: str
    network: nn.Module
    input: InputSpec
    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class Judged:
    """One picture as the members see it.

    Attributes:
        row: its row of the index.
        rgb: the picture as judged (degraded where that was asked for), uint8 [H, W, 3].
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
    plans: dict[InputSpec, tiles.TilePlan]
    cut: dict[InputSpec, NDArray[np.uint8]]
    outputs: dict[str, Map]  # logits per tile, float32 [tiles, size, size], by member
    waiting: int  # tiles × specifications not yet judged


def ensemble_map(probabilities: Mapping[str, Map], weights: Mapping[str, float]) -> Map:
    """Return the weighted mean of the members' maps.

    Args:
        probabilities: float32 [H, W] by member.
        weights: by member, not negative, not all zero; members without one take no part.
    """
    total = sum(weights.values())
    mean = sum(np.float32(weight / total) * probabilities[name] for name, weight in weights.items())
    # The float32 shares may add up to a hair above 1.
    return np.clip(np.asarray(mean, dtype=np.float32), 0, 1)


def judge_index(
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
) -> Iterator[Judged]:
    """Judge every picture of an index, in its order.

    Memory is bounded by ``batch_size`` + ``workers`` pictures whatever the length of the index.

    Args:
        members: at least one; those with the same input specification share the cut tiles.
        index: the rows to judge.
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
        SettingsError: on an unknown precision, or names that are not unique.
        VeriframeError: when the device's memory does not suffice.
    """
    if ensembles is None:
        ensembles = {ENSEMBLE: [member.name for member in members]} if len(members) > 1 else {}
    _check(members, ensembles, precision)
    specs = list(dict.fromkeys(member.input for member in members))
    engine = _Engine(members, torch.device(device), batch_size, precision)
    pictures: deque[_Picture] = deque()
    queues: dict[InputSpec, deque[tuple[_Picture, int]]] = {spec: deque() for spec in specs}

    def load(row: dict[str, Any]) -> _Picture:
        rgb, mask = load_sample(row, reader)
        return _prepare(row, rgb if degrade is None else degrade(rgb), mask, members)

    with counter(len(index), unit="pictures", label=progress or "", quiet=progress is None) as count:
        for row, loaded in read_ahead(load, index, workers):
            count.update()
            if isinstance(loaded, BadInputError):
                if unreadable is None:
                    raise loaded
                unreadable(row, loaded)
                continue
            pictures.append(loaded)
            for spec, queue in queues.items():
                queue.extend((loaded, number) for number in range(len(loaded.plans[spec])))
                while len(queue) >= batch_size:
                    engine.run(spec, [queue.popleft() for _ in range(batch_size)])
            while pictures and not pictures[0].waiting:
                yield _finish(pictures.popleft(), members, ensembles, keep_logits)
        for spec, queue in queues.items():
            while queue:
                engine.run(spec, [queue.popleft() for _ in range(min(batch_size, len(queue)))])
        while pictures:
            yield _finish(pictures.popleft(), members, ensembles, keep_logits)


def _check(members: Sequence[Member], ensembles: Mapping[str, Sequence[str]], precision: str) -> None:
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    names = [*(member.name for member in members), *ensembles]
    if not members or len(set(names)) != len(names):
        raise SettingsError(f"members and ensembles need unique names, got {', '.join(names) or 'none'}")


def _prepare(
    row: dict[str, Any], rgb: NDArray[np.uint8], mask: NDArray[np.bool_], members: Sequence[Member]
) -> _Picture:
    height, width = mask.shape
    specs = {member.input for member in members}
    plans = {spec: tiles.plan(height, width, spec.size, spec.overlap) for spec in specs}
    cut = {spec: tiles.cut(network_planes(rgb, spec), plan) for spec, plan in plans.items()}
    shapes = {member.name: cut[member.input].shape[:3] for member in members}
    outputs = {name: np.empty(shape, dtype=np.float32) for name, shape in shapes.items()}
    return _Picture(row, rgb, mask, plans, cut, outputs, sum(len(plan) for plan in plans.values()))


def read_ahead(
    load: Callable[[dict[str, Any]], T], index: SampleIndex, workers: int
) -> Iterator[tuple[dict[str, Any], T | BadInputError]]:
    """Load the rows of an index in its order, some ahead of their use.

    Args:
        load: what to do with a row, in one of several threads.
        index: the rows.
        workers: number of threads.

    Yields:
        Each row with what ``load`` returned, or with the ``BadInputError`` that it raised.
    """

    # Threads, not processes: decoding and reading release the interpreter lock, and nothing need be pickled.
    def outcome(future: Future[T]) -> T | BadInputError:
        try:
            return future.result()
        except BadInputError as error:
            return error

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="judge-read")
    ahead: deque[tuple[dict[str, Any], Future[T]]] = deque()
    try:
        for batch in index.table.to_batches(max_chunksize=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                ahead.append((row, pool.submit(load, row)))
                if len(ahead) > workers:
                    first, future = ahead.popleft()
                    yield first, outcome(future)
        while ahead:
            first, future = ahead.popleft()
            yield first, outcome(future)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def judging_mode(device: torch.device, precision: str, batch: str) -> Iterator[None]:
    """Run networks as all judging does: no gradients, deterministic kernels, TF32 off, autocast for ``bf16`` alone.

    Args:
        device: where the networks are.
        precision: a name of ``PRECISIONS``.
        batch: what it is made of, for the message when memory does not suffice.

    Raises:
        VeriframeError: when the device's memory does not suffice.
    """
    mixed = PRECISIONS[precision] is not torch.float32
    try:
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed),
        ):
            yield
    except torch.OutOfMemoryError as error:
        raise VeriframeError(
            f"out of memory on {device} with a batch of {batch}; lower batch_size, or judge in bf16"
        ) from error


class _Engine:
    """Runs batches of tiles through every member that reads their specification."""

    def __init__(self, members: Sequence[Member], device: torch.device, batch_size: int, precision: str) -> None:
        self._members = members
        self._device = device
        self._batch_size = batch_size
        self._precision = precision
        self._normalize = {member.input: Normalize.from_spec(member.input).to(device) for member in members}

    def run(self, spec: InputSpec, batch: Sequence[tuple[_Picture, int]]) -> None:
        """Judge a batch of (picture, tile number) and put the logits into the pictures."""
        pixels = np.stack([picture.cut[spec][number] for picture, number in batch])
        for member in self._members:
            if member.input == spec:
                for (picture, number), tile in zip(batch, self._forward(member, pixels), strict=True):
                    picture.outputs[member.name][number] = tile
        for picture, _ in batch:
            picture.waiting -= 1

    def _forward(self, member: Member, pixels: NDArray[np.uint8]) -> Map:
        with judging_mode(self._device, self._precision, f"{self._batch_size} tiles of {member.input.size} px"):
            # A permuted view of [B,H,W,C] is the channels-last layout; no copy is made.
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device, non_blocking=True)
            output = member.network(self._normalize[member.input](batch))
            return np.asarray(output.float().squeeze(1).cpu().numpy(), dtype=np.float32)


def _sigmoid(logits: Map, temperature: float) -> Map:
    # exp overflows to infinity for a very negative logit, and 1 / (1 + inf) is the right 0.
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits / np.float32(temperature))), dtype=np.float32)


def _finish(
    picture: _Picture, members: Sequence[Member], ensembles: Mapping[str, Sequence[str]], keep_logits: bool
) -> Judged:
    probabilities, logits = {}, {}
    for member in members:
        output, plan = picture.outputs.pop(member.name), picture.plans[member.input]
        # Blending weights add up to 1 but for rounding.
        probabilities[member.name] = np.clip(tiles.blend(_sigmoid(output, member.temperature), plan), 0, 1)
        if keep_logits:
            logits[member.name] = tiles.blend(output, plan)
    for name, names in ensembles.items():
        weights = {member.name: member.weight for member in members if member.name in names}
        probabilities[name] = ensemble_map(probabilities, weights)
    return Judged(picture.row, picture.rgb, picture.mask, probabilities, logits)
