"""Small real bundles of classifiers of faces for tests and benchmarks, exported as the export step does it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.bundles import write_any_bundle
from bundle.document import Format
from bundle.faces.verdict import FaceDecision
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.spec import InputSpec
from media.tensors import TensorSpec
from media.views.face import FaceView
from models.network import Network, Part, only

CLASSES = ("real", "manipulated")
WIDTH = 4  # of a vector
MAP = 8  # cells of a side of the heatmap
SPECS = {
    "stills": InputSpec(views={"face": FaceView(size=32)}),
    "clips": InputSpec(views={"face": FaceView(size=48)}, frames=4),
}
WEIGHTS = {"stills": 0.25, "clips": 0.75}
TEMPERATURES = {"stills": 1.5, "clips": 0.8}
OUTPUTS = {"stills": ("logits",), "clips": ("logits", "vectors", "heatmap")}


class TinyStills(Network):
    """The logit of each picture: its mean colour weighed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 1)

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Return logits [B, 1] of one view [B, 3, S, S]."""
        logits: Tensor = 3 * self.head(only(views).mean(dim=(2, 3)))
        return logits


class TinyFrames(nn.Module):
    """A convolution whose pooled channels are the vector; the heatmap is a channel of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [B, 1], vectors [B, D] and heatmap [B, 1, 8, 8] of one view [B, 3, S, S]."""
        pixels = only(views)
        features = torch.tanh(self.conv(pixels))
        vectors = features.mean(dim=(2, 3))
        heatmap = torch.sigmoid(nn.functional.avg_pool2d(features[:, :1], pixels.shape[-1] // MAP))
        return 5 * self.head(vectors), vectors, heatmap


class TinyTemporal(nn.Module):
    """The logit of a clip: the mean of its frames' vectors weighed, and how much neighbours differ."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Return logits [B, 1] of vectors [B, T, D] of which the first ``lengths`` [B] count."""
        vectors, lengths = arrays["vectors"], arrays["lengths"]
        inside = (torch.arange(vectors.shape[1]) < lengths[:, None]).to(vectors.dtype)[..., None]
        mean = (vectors * inside).sum(dim=1) / lengths[:, None]
        steps = (vectors[:, 1:] - vectors[:, :-1]).abs() * inside[:, 1:]
        return (5 * self.head(torch.cat([mean, steps.sum(dim=1)], dim=1)),)


class TinyClips(Network):
    """A network of frames and one of clips."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = TinyFrames()
        self.temporal = TinyTemporal()

    def frame_part(self) -> tuple[nn.Module, tuple[str, ...]]:
        """Return what judges single frames."""
        return self.frames, OUTPUTS["clips"]

    def clip_part(self, frames: int) -> Part:
        """Return what judges clips."""
        inputs = {
            "vectors": TensorSpec(datatype="FP32", shape=(frames, WIDTH)),
            "lengths": TensorSpec(datatype="INT64"),
        }
        return Part(self.temporal, inputs)


def tiny_face_networks() -> dict[str, Network]:
    """Return the networks of the bundle's members in evaluation mode, normalised views in."""
    return {"stills": TinyStills().eval(), "clips": TinyClips().eval()}


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
        tiny_face_networks(),
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
    networks: Mapping[str, Network],
    specs: Mapping[str, InputSpec],
    *,
    weights: Mapping[str, float],
    temperatures: Mapping[str, float],
    extraction: ExtractionSpec,
    threshold: float = 0.5,
    version: str = "1",
    formats: Sequence[Format] = ("torchscript", "onnx"),
) -> Path:
    """Write a bundle of classifiers of faces; return its folder.

    Args:
        folder: is made.
        name: of the bundle.
        networks: by member name, in evaluation mode, normalised views in.
        specs: their inputs.
        weights: of the members; they sum to 1.
        temperatures: of the members.
        extraction: how faces are found and cut.
        threshold: of the ensemble and of every member.
        version: of the bundle.
        formats: which to write.
    """
    decision = FaceDecision(threshold=threshold)
    return write_any_bundle(
        folder,
        name,
        networks,
        specs,
        task="faces",
        classes=CLASSES,
        decision=decision,
        member_decision=decision,
        weights=weights,
        temperatures=temperatures,
        extraction=extraction,
        formats=formats,
        version=version,
    )
