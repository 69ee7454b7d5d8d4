"""Small real bundles for tests and benchmarks, exported as the export step does it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from bundle import BUNDLE_FILE, Bundle, BundleFile, BundleMember, Format, member_path
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import member_metadata
from components.export.formats import Exported, example_pixels, write_onnx, write_torchscript
from media.spec import ElaSpec, ExtractionSpec, InputSpec
from models.inputs import Normalize

TINY_SPECS = {"colour": InputSpec(size=32, overlap=8), "ela": InputSpec(size=64, overlap=16, ela=ElaSpec())}
LABELS = ("authentic", "forged")
OPSET = 18


class Tiny(nn.Module):
    """A convolution that looks at all channels, with weights from its seed."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, 1, S, S]."""
        return 4 * self.conv(x)


def tiny_networks() -> dict[str, Exported]:
    """Return the eager networks of the tiny bundle's members, uint8 pixels in."""
    return {
        name: Exported(Normalize.from_spec(spec), Tiny(spec.channels, seed)).eval()
        for seed, (name, spec) in enumerate(TINY_SPECS.items())
    }


def write_tiny_bundle(folder: Path) -> Path:
    """Write a bundle of two members, with and without error levels; return its folder."""
    return write_bundle(folder, "tiny", tiny_networks(), TINY_SPECS, weights=(0.75, 0.25), temperatures=(1.0, 2.5))


def write_bundle(
    folder: Path,
    name: str,
    networks: Mapping[str, Exported],
    specs: Mapping[str, InputSpec],
    *,
    weights: Sequence[float],
    temperatures: Sequence[float],
    formats: Sequence[Format] = ("torchscript", "onnx"),
    threshold: float = 0.5,
) -> Path:
    """Export networks and describe them; the operating points are made up.

    Args:
        folder: is made.
        name: of the bundle.
        networks: by member name.
        specs: their inputs.
        weights: of the members, in order; they sum to 1.
        temperatures: of the members, in order.
        formats: which to write.
        threshold: of the ensemble and of every member.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.md").write_text(f"# {name}\n")
    members = []
    for number, (member, spec) in enumerate(specs.items()):
        checkpoint = hashlib.sha256(member.encode()).hexdigest()
        metadata = member_metadata(name, member, LABELS, spec.to_json(), checkpoint)
        pixels = example_pixels(spec.channels, spec.size)
        if "torchscript" in formats:
            write_torchscript(networks[member], pixels, folder / member_path(member, "torchscript"), metadata)
        if "onnx" in formats:
            write_onnx(networks[member], pixels, folder / member_path(member, "onnx"), metadata, OPSET)
        members.append(
            BundleMember(
                name=member,
                family="forgery",
                labels=LABELS,
                input=spec,
                weight=weights[number],
                temperature=temperatures[number],
                operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
                checkpoint_sha256=checkpoint,
                files={kind: _describe(folder, member_path(member, kind)) for kind in formats},
            )
        )
    bundle = Bundle(
        name=name,
        version="1",
        labels=LABELS,
        operating_point=OperatingPoint(threshold=threshold, min_area_fraction=0.01),
        extraction=ExtractionSpec(),
        members=tuple(members),
        card=_describe(folder, "card.md"),
        dataset_sha256="0" * 64,
        git_sha="unknown",
    )
    (folder / BUNDLE_FILE).write_bytes(bundle.to_document())
    return folder


def _describe(folder: Path, path: str) -> BundleFile:
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
