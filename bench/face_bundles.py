"""A small real bundle of classifiers of faces for tests, exported as the export step does it."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from components.export.formats import Exported, example_clips, example_pixels, write_onnx, write_torchscript
from media.bundle import BUNDLE_FILE, FORMAT_FILES, Bundle, BundleFile, BundleMember, clip_path, member_path
from media.bundle.runtimes import member_metadata
from media.spec import EvenFrames, ExtractionSpec, FaceSpec, InputSpec
from media.verdict import OperatingPoint
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
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.md").write_text(f"# {name}\n")
    even = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=8), faces=FaceSpec(), store="png")
    parts = tiny_face_parts()
    bundle = Bundle(
        name=name,
        version=version,
        task="classification",
        labels=LABELS,
        operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
        extraction=extraction or even,
        members=tuple(_member(folder, name, member, parts[member], threshold) for member in SPECS),
        card=_describe(folder, "card.md"),
        dataset_sha256="0" * 64,
        git_sha="unknown",
    )
    (folder / BUNDLE_FILE).write_bytes(bundle.to_document())
    return folder


def _member(folder: Path, bundle: str, name: str, parts: FaceParts, threshold: float) -> BundleMember:
    spec, checkpoint = SPECS[name], hashlib.sha256(name.encode()).hexdigest()
    metadata = [member_metadata(bundle, name, LABELS, spec.to_json(), checkpoint, part) for part in ("", "clip")]
    frames, pixels = Exported(Normalize.from_spec(spec), parts.frames).eval(), example_pixels(3, spec.size)
    write_torchscript(frames, pixels, folder / member_path(name, "torchscript"), metadata[0])
    write_onnx(frames, pixels, folder / member_path(name, "onnx"), metadata[0], OPSET, outputs=parts.outputs)
    if parts.clip is not None:
        clips, inputs = example_clips(spec.frames, WIDTH), ("vectors", "lengths")
        write_torchscript(parts.clip, clips, folder / clip_path(name, "torchscript"), metadata[1])
        write_onnx(parts.clip, clips, folder / clip_path(name, "onnx"), metadata[1], OPSET, inputs=inputs)
    return BundleMember(
        name=name,
        family="tiny",
        task="classification",
        labels=LABELS,
        input=spec,
        weight=WEIGHTS[name],
        temperature=TEMPERATURES[name],
        operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
        checkpoint_sha256=checkpoint,
        files={kind: _describe(folder, member_path(name, kind)) for kind in FORMAT_FILES},
        outputs=parts.outputs,
        vector_width=WIDTH if "vectors" in parts.outputs else None,
        heatmap_size=(MAP, MAP) if "heatmap" in parts.outputs else None,
        clip_files={kind: _describe(folder, clip_path(name, kind)) for kind in FORMAT_FILES} if parts.clip else {},
    )


def _describe(folder: Path, path: str) -> BundleFile:
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
