"""Running classifiers of faces over the media of an index: a logit for every frame, and for every clip of a track.

Frames and clips of several media share a batch. A network of clips is asked twice: about each frame alone, as it is
served for a picture and for the curve over time, and about the windows that ``bundle.faces.windows`` cuts a track into.

A member one of whose views is absent from all frames of a track abstains there: it has no logits of it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bundle.faces.scores import abstains, shown_views
from bundle.faces.windows import Place, WindowCutter
from core.errors import BadInputError, SettingsError
from core.progress import counter
from data.index import SampleIndex
from data.parts import in_order
from data.shards import ShardReader
from data.stored import load_sample
from judging.running import inference_mode, read_ahead, require_precision
from media.spec import InputSpec
from media.view import StoredSample, View, stack
from models.inputs import Normalize

Logits = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any] | None]  # of one frame by view; None where an optional view has nothing to show

OF_MEDIUM = ("media_id", "group_id", "label", "label_name", "method", "compression", "dataset", "split")


@dataclass(frozen=True)
class FaceMember:
    """One classifier that takes part in a prediction.

    Attributes:
        name: unique among the members of a pass.
        network: views by name in, logits [B, 1] out, and with ``clips`` also called with lengths (see
            ``models.network``); in evaluation mode, on the device.
        input: how a stored face becomes its input; ``frames`` is the length of its clips.
        clips: whether the network takes clips.
        temperature: calibration; logits are divided by it.
        weight: its share in the ensemble, relative to the others'.
        normalise: whether views are normalised before; an exported network does that itself.
    """

    name: str
    network: nn.Module
    input: InputSpec
    clips: bool
    temperature: float = 1.0
    weight: float = 1.0
    normalise: bool = True


@dataclass(frozen=True)
class TrackPrediction:
    """What the members make of one face of a medium.

    Attributes:
        rows: its n rows of the index, in their order.
        frame_logits: by member float64 [n], before temperature; without the members that abstained.
        clip_logits: by member with clips float64 [k], one for each of its windows of at most ``input.frames`` frames;
            without the members that abstained.
    """

    rows: list[dict[str, Any]]
    frame_logits: Mapping[str, Logits]
    clip_logits: Mapping[str, Logits]


@dataclass(frozen=True)
class MediumPrediction:
    """One medium: what the index says of it (the columns of ``OF_MEDIUM``), and its tracks in their order."""

    row: dict[str, Any]
    tracks: tuple[TrackPrediction, ...]


@dataclass
class _Track:
    """A track on its way through the members."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    frames: dict[str, list[float]] = field(default_factory=dict)
    clips: dict[str, list[float]] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)  # how many have begun, by member with clips
    shown: dict[str, set[str]] = field(default_factory=dict)  # views that some frame had, by member


@dataclass
class _Medium:
    row: dict[str, Any]
    tracks: list[_Track] = field(default_factory=list)
    closed: bool = False  # no further row will come


class _Cutter:
    """Cuts the views of all members out of a stored face, each view once however many members share it."""

    def __init__(self, members: Sequence[FaceMember]) -> None:
        self._views: list[View] = []
        self._places: dict[str, dict[str, int]] = {}  # in ``_views``, by member and view
        for member in members:
            for view in member.input.views.values():
                if view not in self._views:
                    self._views.append(view)
            self._places[member.name] = {name: self._views.index(view) for name, view in member.input.views.items()}

    def cut(self, sample: StoredSample) -> dict[str, Arrays]:
        """Return the arrays of every member, by its name."""
        arrays = [view.cut(sample) for view in self._views]
        return {
            member: {name: arrays[place] for name, place in places.items()} for member, places in self._places.items()
        }


def predict_media(
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
) -> Iterator[MediumPrediction]:
    """Predict every medium of an index, in the order of ``media_id``.

    Each stored crop is decoded once. Memory is bounded by a few batches and the longest clip, whatever the length of
    the index or of a medium.

    Args:
        members: at least one; views that they share are cut once.
        index: the rows to predict; of a medium, those that are in it.
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
    require_precision(precision)
    names = [member.name for member in members]
    if not members or len(set(names)) != len(names):
        raise SettingsError(f"members need unique names, got {', '.join(names) or 'none'}")
    cutter = _Cutter(members)
    step = index.spec.extraction.step
    engines = [_Engine(member, torch.device(device), batch_size, precision, step) for member in members]

    def load(row: dict[str, Any]) -> dict[str, Arrays]:
        sample = load_sample(row, reader)
        return cutter.cut(sample if degrade is None else replace(sample, rgb=degrade(sample.rgb)))

    media: deque[_Medium] = deque()
    with counter(len(index), unit="faces", label=progress or "", quiet=progress is None) as count:
        for row, arrays in read_ahead(load, in_order(index), workers):
            count.update()
            if isinstance(arrays, BadInputError):
                if unreadable is None:
                    raise arrays
                unreadable(row, arrays)
                continue
            track = _track_of(row, media, engines)
            track.rows.append(row)
            for engine in engines:
                engine.add(track, (row["run"], row["frame"]), arrays[engine.member.name])
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


def _finished(media: deque[_Medium], engines: Sequence["_Engine"]) -> Iterator[MediumPrediction]:
    """Take out the first media of which all is known."""
    while media and media[0].closed and all(e.has_predicted(track) for e in engines for track in media[0].tracks):
        medium = media.popleft()
        yield MediumPrediction(medium.row, tuple(_result(track, engines) for track in medium.tracks))


def _result(track: _Track, engines: Sequence["_Engine"]) -> TrackPrediction:
    speaking = {engine.member.name for engine in engines if not engine.abstains(track)}
    frames, clips = (
        {name: np.array(logits, dtype=np.float64) for name, logits in of.items() if name in speaking}
        for of in (track.frames, track.clips)
    )
    return TrackPrediction(track.rows, frames, clips)


class _Engine:
    """Gathers a member's frames and clips into batches, runs them, and hands the logits to their tracks."""

    def __init__(self, member: FaceMember, device: torch.device, batch_size: int, precision: str, step: int) -> None:
        self.member = member
        self._step = step
        self._cutter = self._new_cutter()
        self._device = device
        self._batch_size = batch_size
        self._precision = precision
        self._normalize = Normalize(member.input).to(device) if member.normalise else nn.Identity()
        self._frames: list[tuple[_Track, Arrays]] = []
        self._clips: list[tuple[_Track, list[Arrays]]] = []
        self._open: tuple[_Track, list[Arrays]] | None = None  # the clip that is being gathered

    def _new_cutter(self) -> WindowCutter:
        return WindowCutter(self._step, self.member.input.frames)

    def add(self, track: _Track, place: Place, arrays: Arrays) -> None:
        """Take in a track's next frame."""
        shown = track.shown.setdefault(self.member.name, set())
        shown |= shown_views([arrays])
        self._frames.append((track, arrays))
        if len(self._frames) == self._batch_size:
            self._run_frames()
        if not self.member.clips:
            return
        if self._cutter.begins(*place):
            self._end_clip()
            track.windows[self.member.name] = track.windows.get(self.member.name, 0) + 1
            self._open = (track, [])
        assert self._open is not None  # noqa: S101 - a track's first frame begins a window
        self._open[1].append(arrays)

    def end_track(self) -> None:
        """Know that the track has no further frames."""
        self._end_clip()
        self._cutter = self._new_cutter()

    def _end_clip(self) -> None:
        """Close the clip that is being gathered."""
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

    def abstains(self, track: _Track) -> bool:
        """Tell whether the member abstains from a finished track."""
        return abstains(self.member.input.views, track.shown[self.member.name])

    def has_predicted(self, track: _Track) -> bool:
        """Tell whether every frame and clip of a track has its logit."""
        name = self.member.name
        frames, clips = len(track.frames.get(name, ())), len(track.clips.get(name, ()))
        return frames == len(track.rows) and clips == track.windows.get(name, 0)

    def _run_frames(self) -> None:
        logits = self._forward([arrays for _, arrays in self._frames])
        for (track, _), logit in zip(self._frames, logits, strict=True):
            track.frames.setdefault(self.member.name, []).append(logit)
        self._frames = []

    def _run_clips(self) -> None:
        lengths = torch.tensor([len(clip) for _, clip in self._clips], device=self._device)
        logits = self._forward(list(chain.from_iterable(clip for _, clip in self._clips)), lengths)
        for (track, _), logit in zip(self._clips, logits, strict=True):
            track.clips.setdefault(self.member.name, []).append(logit)
        self._clips = []

    def _forward(self, frames: Sequence[Arrays], *lengths: torch.Tensor) -> list[float]:
        """Return a logit for each frame, or with ``lengths`` for each clip."""
        views = self.member.input.views
        shapes = " and ".join("×".join(map(str, view.tensor.shape)) for view in views.values())
        with inference_mode(self._device, self._precision, f"{len(frames)} faces of {shapes}"):
            batch = {
                name: torch.from_numpy(array).to(self._device, non_blocking=True)
                for name, array in stack(views, frames).items()
            }
            output = self.member.network(self._normalize(batch), *lengths)
            return [float(logit) for logit in output.float().squeeze(1).cpu().tolist()]
