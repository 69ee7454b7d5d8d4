"""Small real bundles for tests and benchmarks, written as the export step writes them; what is fitted is made up."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bundle.document import BUNDLE_FILE, Bundle, BundleMember, Format
from bundle.regions.verdict import OperatingPoint
from components.export.networks import describe_file, take_apart, write_member
from core.settings import Settings
from media.ela import ElaSpec
from media.extraction import ExtractionSpec
from media.spec import InputSpec
from media.views.tiles import TilesView
from models.network import Network, only

TINY_SPECS = {
    "colour": InputSpec(views={"tiles": TilesView(size=32, overlap=8)}),
    "ela": InputSpec(views={"tiles": TilesView(size=64, overlap=16, ela=ElaSpec())}),
}
CLASSES = ("authentic", "forged")
OPSET = 18


class Tiny(Network):
    """A convolution that looks at all channels, with weights from its seed."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Return logits [B, 1, S, S]."""
        return 4 * self.conv(only(views))


def tiny_networks() -> dict[str, Network]:
    """Return the networks of the tiny bundle's members, normalised views in."""
    return {name: Tiny(spec.only.channels, seed).eval() for seed, (name, spec) in enumerate(TINY_SPECS.items())}


def write_tiny_bundle(folder: Path) -> Path:
    """Write a bundle of two members, with and without error levels; return its folder."""
    return write_bundle(folder, "tiny", tiny_networks(), TINY_SPECS, weights=(0.75, 0.25), temperatures=(1.0, 2.5))


def write_bundle(
    folder: Path,
    name: str,
    networks: Mapping[str, Network],
    specs: Mapping[str, InputSpec],
    *,
    weights: Sequence[float],
    temperatures: Sequence[float],
    formats: Sequence[Format] = ("torchscript", "onnx"),
    threshold: float = 0.5,
) -> Path:
    """Write a bundle of networks that mark regions; return its folder.

    Args:
        folder: is made.
        name: of the bundle.
        networks: by member name, normalised views in.
        specs: their inputs.
        weights: of the members, in order; they sum to 1.
        temperatures: of the members, in order.
        formats: which to write.
        threshold: of the ensemble and of every member.
    """
    return write_any_bundle(
        folder,
        name,
        networks,
        specs,
        task="regions",
        classes=CLASSES,
        decision=OperatingPoint(threshold=threshold, min_area_fraction=0.01),
        member_decision=OperatingPoint(threshold=threshold, min_area_fraction=0.0),
        weights=dict(zip(specs, weights, strict=True)),
        temperatures=dict(zip(specs, temperatures, strict=True)),
        extraction=ExtractionSpec(),
        formats=formats,
    )


def write_any_bundle(
    folder: Path,
    name: str,
    networks: Mapping[str, Network],
    specs: Mapping[str, InputSpec],
    *,
    task: str,
    classes: tuple[str, ...],
    decision: Settings,
    member_decision: Settings,
    weights: Mapping[str, float],
    temperatures: Mapping[str, float],
    extraction: ExtractionSpec,
    formats: Sequence[Format] = ("torchscript", "onnx"),
    version: str = "1",
    family: str = "tiny",
) -> Path:
    """Write a bundle of any task; return its folder.

    Args:
        folder: is made.
        name: of the bundle.
        networks: by member name, normalised views in.
        specs: their inputs.
        task: whose networks they are.
        classes: names of the labels.
        decision: of the ensemble.
        member_decision: of every member.
        weights: of the members; they sum to 1.
        temperatures: of the members.
        extraction: how the samples came to be.
        formats: which to write.
        version: of the bundle.
        family: that the members are declared to be of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.md").write_text(f"# {name}\n")
    members = []
    for member, spec in specs.items():
        checkpoint = hashlib.sha256(member.encode()).hexdigest()
        written = write_member(
            take_apart(networks[member], spec),
            folder,
            member,
            bundle=name,
            classes=classes,
            input_spec=spec,
            checkpoint=checkpoint,
            formats=formats,
            opset=OPSET,
        )
        members.append(
            BundleMember(
                name=member,
                family=family,
                input=spec,
                weight=weights[member],
                temperature=temperatures[member],
                decision=member_decision,
                checkpoint_sha256=checkpoint,
                networks=written,
            )
        )
    bundle = Bundle(
        name=name,
        version=version,
        task=task,
        classes=classes,
        decision=decision,
        extraction=extraction,
        members=tuple(members),
        card=describe_file(folder, "card.md"),
        dataset_sha256="0" * 64,
        git_sha="unknown",
    )
    (folder / BUNDLE_FILE).write_bytes(bundle.to_document())
    return folder
