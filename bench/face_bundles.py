"""Small real bundles of classifiers of faces for tests and benchmarks, exported as the export step does it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bundle import BUNDLE_FILE, Bundle, BundleFile, BundleMember, Format, clip_path, member_path
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import member_metadata
from components.export.formats import Exported, example_clips, example_pixels, write_onnx, write_torchscript
from media.spec import EvenFrames, ExtractionSpec, FaceSpec, InputSpec
from models.family import FaceParts
from models.inputs import Normalize

LABELS = ("real", "manipulated")
OPSET = 18
WIDTH = 4  # of a vector
MAP = 8  # cells of a side of the heatmap
SPECS = {
    "stills": InputSpec(view="whole", size=32),
    "clips": InputSpec(view="whole", size=48, frames=4),
}
WEIGHTS = {"stills": 0.25, "clips": 0.75}
TEMPERATURES = {"stills": 1.5, "clips": 0.8}


class TinyStills(nn.Module):
    """The logit of each picture: its mean colour weighed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return logits [B, 1] of [B, 3, S, S]."""
        return (3 * self.head(x.mean(dim=(2, 3))),)


class TinyFrames(nn.Module):
    """A convolution whose pooled channels are the vector; the heatmap is a channel of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [B, 1], vectors [B, D] and heatmap [B, 1, 8, 8] of [B, 3, S, S]."""
        features = torch.tanh(self.conv(x))
        vectors = features.mean(dim=(2, 3))
        heatmap = torch.sigmoid(nn.functional.avg_pool2d(features[:, :1], x.shape[-1] // MAP))
        return 5 * self.head(vectors), vectors, heatmap


class TinyClips(nn.Module):
    """The logit of a clip: the mean of its frames' vectors weighed, and how much neighbours differ."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return logits [B, 1] of vectors [B, T, D] of which the first ``lengths`` [B] count."""
        inside = (torch.arange(vectors.shape[1]) < lengths[:, None]).to(vectors.dtype)[..., None]
        mean = (vectors * inside).sum(dim=1) / lengths[:, None]
        steps = (vectors[:, 1:] - vectors[:, :-1]).abs() * inside[:, 1:]
        logits: Tensor = 5 * self.head(torch.cat([mean, steps.sum(dim=1)], dim=1))
        return logits


def tiny_face_parts() -> dict[str, FaceParts]:
    """Return the networks of the bundle's members in evaluation mode, normalised pixels in."""
    return {
        "stills": FaceParts(TinyStills().eval(), ("logits",)),
        "clips": FaceParts(TinyFrames().eval(), ("logits", "vectors", "heatmap"), TinyClips().eval()),
    }


def write_tiny_face_bundle(
    folder: Path,
    *,
    extraction: ExtractionSpec | None = None,
    threshold: float = 0.5,
    name: str = "tiny-faces",
    version: str = "1",
) -> Path:
    """Write a bundle of two members, one of single frames and one of clips with heatmaps; return its folder.

    Args:
        folder: is made.
        extraction: how faces are found and cut; None takes 8 frames spread evenly, and the main face.
        threshold: of the ensemble and of every member.
        name: of the bundle.
        version: of the bundle.
    """
    even = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=8), faces=FaceSpec(), store="png")
    return write_face_bundle(
        folder,
        name,
        tiny_face_parts(),
        SPECS,
        weights=WEIGHTS,
        temperatures=TEMPERATURES,
        extraction=extraction or even,
        threshold=threshold,
        version=version,
    )


def write_face_bundle(
    folder: Path,
    name: str,
    parts: Mapping[str, FaceParts],
    specs: Mapping[str, InputSpec],
    *,
    weights: Mapping[str, float],
    temperatures: Mapping[str, float],
    extraction: ExtractionSpec,
    threshold: float = 0.5,
    version: str = "1",
    formats: Sequence[Format] = ("torchscript", "onnx"),
) -> Path:
    """Export classifiers of faces and describe them; return the bundle's folder.

    Args:
        folder: is made.
        name: of the bundle.
        parts: the networks by member name, in evaluation mode, normalised pixels in.
        specs: their inputs.
        weights: of the members; they sum to 1.
        temperatures: of the members.
        extraction: how faces are found and cut.
        threshold: of the ensemble and of every member.
        version: of the bundle.
        formats: which to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.md").write_text(f"# {name}\n")
    members = []
    for member, spec in specs.items():
        checkpoint = hashlib.sha256(member.encode()).hexdigest()
        written = _write_networks(folder, name, member, parts[member], spec, formats)
        members.append(
            BundleMember(
                name=member,
                family="tiny",
                task="classification",
                labels=LABELS,
                input=spec,
                weight=weights[member],
                temperature=temperatures[member],
                operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
                checkpoint_sha256=checkpoint,
                outputs=parts[member].outputs,
                **written,
            )
        )
    bundle = Bundle(
        name=name,
        version=version,
        task="classification",
        labels=LABELS,
        operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
        extraction=extraction,
        members=tuple(members),
        card=_describe(folder, "card.md"),
        dataset_sha256="0" * 64,
        git_sha="unknown",
    )
    (folder / BUNDLE_FILE).write_bytes(bundle.to_document())
    return folder


def _write_networks(
    folder: Path, bundle: str, name: str, parts: FaceParts, spec: InputSpec, formats: Sequence[Format]
) -> dict[str, Any]:
    """Write a member's files; return what its document says of them."""
    checkpoint = hashlib.sha256(name.encode()).hexdigest()
    metadata = [member_metadata(bundle, name, LABELS, spec.to_json(), checkpoint, part) for part in ("", "clip")]
    frames, pixels = Exported(Normalize.from_spec(spec), parts.frames).eval(), example_pixels(3, spec.size)
    with torch.inference_mode():
        said = dict(zip(parts.outputs, frames(pixels), strict=True))
    width = said["vectors"].shape[1] if "vectors" in said else None
    for kind in formats:
        paths = folder / member_path(name, kind), folder / clip_path(name, kind)
        clips = example_clips(spec.frames, width) if parts.clip is not None and width else None
        if kind == "torchscript":
            write_torchscript(frames, pixels, paths[0], metadata[0])
            if parts.clip is not None and clips is not None:
                write_torchscript(parts.clip, clips, paths[1], metadata[1])
        else:
            write_onnx(frames, pixels, paths[0], metadata[0], OPSET, outputs=parts.outputs)
            if parts.clip is not None and clips is not None:
                write_onnx(parts.clip, clips, paths[1], metadata[1], OPSET, inputs=("vectors", "lengths"))
    return {
        "files": {kind: _describe(folder, member_path(name, kind)) for kind in formats},
        "clip_files": {kind: _describe(folder, clip_path(name, kind)) for kind in formats if parts.clip is not None},
        "vector_width": width,
        "heatmap_size": tuple(said["heatmap"].shape[2:]) if "heatmap" in said else None,
    }


def _describe(folder: Path, path: str) -> BundleFile:
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
