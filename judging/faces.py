"""Running classifiers of faces over the media of an index: a logit for every frame, and for every clip of a track.

Frames and clips of several media share a batch. A network of clips is asked twice: about each frame alone, as it is
served for a picture and for the curve over time, and about the clips that ``bundle.faces.scores`` cuts a track into.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bundle.faces.scores import clip_slices
from core.errors import BadInputError, SettingsError, unknown_name
from core.progress import counter
from data.datasets import load_sample
from data.index import SampleIndex
from data.shards import ShardReader
from judging.predict import PRECISIONS, judging_mode, read_ahead
from media.inputs import face_view
from media.spec import InputSpec
from models.inputs import Normalize

Logits = NDArray[np.float64]
Planes = NDArray[np.uint8]

OF_MEDIUM = ("media_id", "group_id", "label", "label_name", "method", "compression", "dataset", "split")
ORDER = [("media_id", "ascending"), ("track", "ascending"), ("frame", "ascending")]


@dataclass(frozen=True)
class FaceMember:
    """One classifier that takes part in judging.

    Attributes:
        name: unique among the members judged together.
        network: normalised float32 [B,C,S,S] in, logits [B,1] out, and with ``clips`` also called with lengths (see
            ``models.family``); in eval mode, on the device.
        input: how a face crop becomes its input; ``frames`` is the length of its clips.
        clips: whether the network takes clips.
        temperature: calibration; logits are divided by it.
        weight: its share in the ensemble, relative to the others'.
    """

    name: str
    network: nn.Module
    input: InputSpec
    clips: bool
    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class JudgedTrack:
    """One face of a medium as the members see it.

    Attributes:
        rows: its n rows of the index, in the order of time.
        frame_logits: by member float64 [n], before temperature.
        clip_logits: by member with clips float64 [k], one for each of ``clip_slices(n, input.frames)``.
    """

    rows: list[dict[str, Any]]
    frame_logits: Mapping[str, Logits]
    clip_logits: Mapping[str, Logits]


@dataclass(frozen=True)
class JudgedMedium:
    """One medium: what the index says of it (the columns of ``OF_MEDIUM``), and its tracks in their order."""

    row: dict[str, Any]
    tracks: tuple[JudgedTrack, ...]


@dataclass
class _Track:
    """A track on its way through the members."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    frames: dict[str, list[float]] = field(default_factory=dict)
    clips: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class _Medium:
    row: dict[str, Any]
    tracks: list[_Track] = field(default_factory=list)
    closed: bool = False  # no further row will come


def judge_media(
    members: Sequence[FaceMember],
    index: SampleIndex,
    reader: ShardReader,
    *,
    device: torch.device | str,
    batch_size: int = 8,
    precision: str = "fp32",
    workers: int = 2,
    degrade: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    progress: str | None = None,
    unreadable: Callable[[dict[str, Any], BadInputError], None] | None = None,
) -> Iterator[JudgedMedium]:
    """Judge every medium of an index, in the order of ``media_id``.

    Each stored crop is decoded once. Memory is bounded by a few batches and the longest clip, whatever the length of
    the index or of a medium.

    Args:
        members: at least one; those with the same input specification share the scaled crops.
        index: the rows to judge; media are judged by the rows that are in it.
        reader: of the shards that ``index`` points into.
        device: where the networks are.
        batch_size: frames a forward pass; a clip is never divided, so one may exceed it.
        precision: ``fp32`` (TF32 off) or ``bf16`` (autocast).
        workers: threads that read, decode and scale ahead.
        degrade: applied to every stored crop before anything else.
        progress: label of the progress shown; None shows nothing.
        unreadable: called for a crop that cannot be decoded, which is then left out, and with its last crop the medium;
            None raises instead.

    Raises:
        BadInputError: when a crop cannot be decoded and ``unreadable`` is None.
        SettingsError: on an unknown precision, or names that are not unique.
        VeriframeError: when the device's memory does not suffice.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    names = [member.name for member in members]
    if not members or len(set(names)) != len(names):
        raise SettingsError(f"members need unique names, got {', '.join(names) or 'none'}")
    specs = list(dict.fromkeys(member.input for member in members))
    engines = [_Engine(member, torch.device(device), batch_size, precision) for member in members]
    ordered = SampleIndex(index.table.sort_by(ORDER), index.spec, index.shards, index.sha256)

    def load(row: dict[str, Any]) -> dict[InputSpec, Planes]:
        rgb, _ = load_sample(row, reader)
        rgb = rgb if degrade is None else degrade(rgb)
        return {spec: face_view(rgb, spec) for spec in specs}

    media: deque[_Medium] = deque()
    with counter(len(index), unit="faces", label=progress or "", quiet=progress is None) as count:
        for row, planes in read_ahead(load, ordered, workers):
            count.update()
            if isinstance(planes, BadInputError):
                if unreadable is None:
                    raise planes
                unreadable(row, planes)
                continue
            track = _track_of(row, media, engines)
            track.rows.append(row)
            for engine in engines:
                engine.add(track, planes[engine.member.input])
            yield from _finished(media, engines)
        for engine in engines:
            engine.end_track()
            engine.flush()
        if media:
            media[-1].closed = True
        yield from _finished(media, engines)


def _track_of(row: dict[str, Any], media: deque[_Medium], engines: Sequence["_Engine"]) -> _Track:
    """Return the track that a row belongs to; where that is a new one, the one before has ended."""
    if not media or media[-1].row["media_id"] != row["media_id"]:
        if media:
            media[-1].closed = True
        media.append(_Medium({name: row[name] for name in OF_MEDIUM}))
    medium = media[-1]
    if not medium.tracks or medium.tracks[-1].rows[0]["track"] != row["track"]:
        for engine in engines:
            engine.end_track()
        medium.tracks.append(_Track())
    return medium.tracks[-1]


def _finished(media: deque[_Medium], engines: Sequence["_Engine"]) -> Iterator[JudgedMedium]:
    """Take out the first media of which all is known."""
    while media and media[0].closed and all(e.has_judged(track) for e in engines for track in media[0].tracks):
        medium = media.popleft()
        yield JudgedMedium(medium.row, tuple(_judged(track) for track in medium.tracks))


def _judged(track: _Track) -> JudgedTrack:
    frames, clips = (
        {name: np.array(logits, dtype=np.float64) for name, logits in of.items()} for of in (track.frames, track.clips)
    )
    return JudgedTrack(track.rows, frames, clips)


class _Engine:
    """Gathers a member's frames and clips into batches, runs them, and hands the logits to their tracks."""

    def __init__(self, member: FaceMember, device: torch.device, batch_size: int, precision: str) -> None:
        self.member = member
        self._device = device
        self._batch_size = batch_size
        self._precision = precision
        self._normalize = Normalize.from_spec(member.input).to(device)
        self._frames: list[tuple[_Track, Planes]] = []
        self._clips: list[tuple[_Track, list[Planes]]] = []
        self._open: tuple[_Track, list[Planes]] | None = None  # the clip that is being gathered

    def add(self, track: _Track, planes: Planes) -> None:
        """Take in a track's next frame."""
        self._frames.append((track, planes))
        if len(self._frames) == self._batch_size:
            self._run_frames()
        if not self.member.clips:
            return
        if self._open is None:
            self._open = (track, [])
        self._open[1].append(planes)
        if len(self._open[1]) == self.member.input.frames:
            self.end_track()

    def end_track(self) -> None:
        """Close the clip that is being gathered: it is full, or its track has no further frames."""
        if self._open is None:
            return
        self._clips.append(self._open)
        self._open = None
        if sum(len(clip) for _, clip in self._clips) >= self._batch_size:
            self._run_clips()

    def flush(self) -> None:
        """Run what is waiting."""
        if self._frames:
            self._run_frames()
        if self._clips:
            self._run_clips()

    def has_judged(self, track: _Track) -> bool:
        """Tell whether every frame and clip of a track has its logit."""
        name, count = self.member.name, len(track.rows)
        expected = len(clip_slices(count, self.member.input.frames)) if self.member.clips else 0
        return len(track.frames.get(name, ())) == count and len(track.clips.get(name, ())) == expected

    def _run_frames(self) -> None:
        logits = self._forward([planes for _, planes in self._frames])
        for (track, _), logit in zip(self._frames, logits, strict=True):
            track.frames.setdefault(self.member.name, []).append(logit)
        self._frames = []

    def _run_clips(self) -> None:
        lengths = torch.tensor([len(clip) for _, clip in self._clips], device=self._device)
        logits = self._forward(list(chain.from_iterable(clip for _, clip in self._clips)), lengths)
        for (track, _), logit in zip(self._clips, logits, strict=True):
            track.clips.setdefault(self.member.name, []).append(logit)
        self._clips = []

    def _forward(self, planes: Sequence[Planes], *lengths: torch.Tensor) -> list[float]:
        """Return a logit for each frame, or with ``lengths`` for each clip."""
        with judging_mode(self._device, self._precision, f"{len(planes)} faces of {self.member.input.size} px"):
            batch = torch.from_numpy(np.stack(planes)).to(self._device, non_blocking=True)
            output = self.member.network(self._normalize(batch), *lengths)
            return [float(logit) for logit in output.float().squeeze(1).cpu().tolist()]
