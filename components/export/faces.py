"""Exporting classifiers of faces: a network of frames, and for members with clips one that reads their vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bundle import FaceRun, Format, VerifiedBundle, clip_path, member_path, open_faces
from bundle.faces.analysis import clip_inputs
from components.export.fitting import Fitted, fit_faces
from components.export.formats import Exported, example_clips, example_pixels, write_onnx, write_torchscript
from components.export.parity import HEATMAP, Parity, Say, compare, threshold_logit
from components.export.task import Job, describe_file
from data.datasets import load_sample
from data.index import SampleIndex
from data.shards import ShardReader
from data.tracks import find_tracks
from judging.faces import FaceMember
from media.inputs import face_view
from media.spec import InputSpec
from models.checkpoint import LoadedNetwork
from models.family import FaceParts
from models.inputs import Normalize

Crops = NDArray[np.uint8]


class FacesExport:
    """The export of a job whose networks classify faces."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._eager: dict[str, FaceRun] = {}

    def fit(self) -> Fitted:
        """Choose on whole media of val."""
        members = [
            FaceMember(name, loaded.network, loaded.spec.input, loaded.family.clips)
            for name, loaded in self._job.networks.items()
        ]
        return fit_faces(members, self._job.val, self._job.reader, self._job.recipe)

    def write(self, name: str, folder: Path) -> Mapping[str, Any]:
        """Write both networks in every format."""
        loaded, formats = self._job.networks[name], self._job.recipe.formats
        spec, parts = loaded.spec.input, take_apart(loaded)
        frames = Exported(Normalize.from_spec(spec), parts.frames).eval()
        eager = eager_faces(frames, parts)
        said = eager.frames(example_pixels(spec.channels, spec.size).numpy())
        for kind in formats:
            self._write_frames(name, frames, parts, folder / member_path(name, kind), kind)
            if parts.clip is not None:
                width = said["vectors"].shape[1]
                self._write_clips(name, parts.clip, spec, width, folder / clip_path(name, kind), kind)
        self._eager[name] = eager
        return {
            "files": {kind: describe_file(folder, member_path(name, kind)) for kind in formats},
            "outputs": parts.outputs,
            "vector_width": said["vectors"].shape[1] if "vectors" in said else None,
            "heatmap_size": said[HEATMAP].shape[2:] if HEATMAP in said else None,
            "clip_files": {kind: describe_file(folder, clip_path(name, kind)) for kind in formats if parts.clip},
        }

    def _write_frames(self, name: str, frames: Exported, parts: FaceParts, path: Path, kind: Format) -> None:
        spec, metadata = self._job.networks[name].spec.input, self._job.metadata(name)
        pixels = example_pixels(spec.channels, spec.size)
        if kind == "torchscript":
            write_torchscript(frames, pixels, path, metadata)
        else:
            write_onnx(frames, pixels, path, metadata, self._job.recipe.opset, outputs=parts.outputs)

    def _write_clips(self, name: str, clip: nn.Module, spec: InputSpec, width: int, path: Path, kind: Format) -> None:
        examples, metadata = example_clips(spec.frames, width), self._job.metadata(name, "clip")
        if kind == "torchscript":
            write_torchscript(clip, examples, path, metadata)
        else:
            write_onnx(clip, examples, path, metadata, self._job.recipe.opset, inputs=("vectors", "lengths"))

    def prove(self, opened: VerifiedBundle) -> list[Parity]:
        """Compare on crops and clips of val."""
        recipe = self._job.recipe
        runs = {kind: open_faces(opened, kind) for kind in recipe.formats}
        results = []
        for member in opened.document.members:
            clips = sample_clips(self._job.val, self._job.reader, member.input, max(recipe.parity.batch_sizes))
            cut = threshold_logit(member.operating_point.threshold, member.temperature)
            exported: dict[Format, Say] = {
                kind: _say(runs[kind][member.name], clips, member.input.frames) for kind in recipe.formats
            }
            eager = _say(self._eager[member.name], clips, member.input.frames)
            results += compare(member.name, eager, exported, recipe.parity, cut)
        return results


def take_apart(loaded: LoadedNetwork) -> FaceParts:
    """Return a classifier's networks as they are exported, on the CPU and in evaluation mode, sharing its weights."""
    network = loaded.network.cpu()
    apart = loaded.family.face_parts
    parts = FaceParts(network, ("logits",)) if apart is None else apart(network)
    return replace(parts, frames=parts.frames.eval(), clip=parts.clip.eval() if parts.clip else None)


def eager_faces(frames: Exported, parts: FaceParts) -> FaceRun:
    """Return the trained networks in the form in which exported ones are opened."""

    def run_frames(pixels: Crops) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            said = frames(torch.from_numpy(pixels))
        said = said if isinstance(said, tuple) else (said,)
        return {name: np.asarray(one.numpy(), np.float32) for name, one in zip(parts.outputs, said, strict=True)}

    def run_clips(vectors: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        assert parts.clip is not None  # noqa: S101 - given to FaceRun only where there is one
        with torch.inference_mode():
            return np.asarray(parts.clip(torch.from_numpy(vectors), torch.from_numpy(lengths)).numpy(), np.float32)

    return FaceRun(run_frames, None if parts.clip is None else run_clips)


def sample_clips(val: SampleIndex, reader: ShardReader, spec: InputSpec, count: int) -> list[Crops]:
    """Return ``count`` clips of tracks spread evenly over val, each uint8 [n, C, S, S] with n in 1..``spec.frames``.

    The first is as long as it can be and each further one is a frame shorter, so that padding is looked at too.
    """
    tracks = find_tracks(val)
    clips = []
    for number, track in enumerate(np.linspace(0, len(tracks) - 1, count).round().astype(int)):
        longest = spec.frames - number % spec.frames
        rows = val.table.take(tracks.rows_of(track)[:longest]).to_pylist()
        clips.append(np.stack([face_view(load_sample(row, reader)[0], spec) for row in rows]))
    return clips


def _say(run: FaceRun, clips: Sequence[Crops], length: int) -> Say:
    """Ask about single faces, one of each clip, and about the clips by the vectors that the network itself gives."""

    def say(count: int) -> Mapping[str, NDArray[np.float32]]:
        said = run.frames(np.stack([clip[number % len(clip)] for number, clip in enumerate(clips[:count])]))
        outputs = {name: said[name] for name in ("logits", HEATMAP) if name in said}
        if run.clip is not None:
            padded = [clip_inputs(run.frames(clip)["vectors"], length) for clip in clips[:count]]
            outputs["clip"] = run.clip(*(np.concatenate(part) for part in zip(*padded, strict=True)))
        return outputs

    return say
