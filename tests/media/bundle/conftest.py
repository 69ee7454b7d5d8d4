"""A real bundle of two tiny networks, exported as TorchScript and as ONNX."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from components.export.formats import Exported, example_pixels, write_onnx, write_torchscript
from media.bundle import BUNDLE_FILE, Bundle, BundleFile, BundleMember, member_path
from media.bundle.runtimes import member_metadata
from media.spec import ElaSpec, ExtractionSpec, InputSpec
from media.verdict import OperatingPoint
from models.inputs import Normalize

SPECS = {"colour": InputSpec(size=32, overlap=8), "ela": InputSpec(size=64, overlap=16, ela=ElaSpec())}
LABELS = ("authentic", "forged")


class Tiny(nn.Module):
    """A convolution that looks at all channels, with weights from its seed."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * self.conv(x)


def describe(folder: Path, path: str) -> BundleFile:
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


@pytest.fixture(scope="session")
def networks() -> dict[str, Exported]:
    """The eager networks of the bundle's members, uint8 pixels in."""
    return {
        name: Exported(Normalize.from_spec(spec), Tiny(spec.channels, seed)).eval()
        for seed, (name, spec) in enumerate(SPECS.items())
    }


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, networks: dict[str, Exported]) -> Path:
    """The bundle's folder; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "card.md").write_text("# tiny\n")
    members = []
    for number, (name, spec) in enumerate(SPECS.items()):
        checkpoint = hashlib.sha256(name.encode()).hexdigest()
        metadata = member_metadata("tiny", name, LABELS, spec.to_json(), checkpoint)
        pixels = example_pixels(spec.channels, spec.size)
        write_torchscript(networks[name], pixels, folder / member_path(name, "torchscript"), metadata)
        write_onnx(networks[name], pixels, folder / member_path(name, "onnx"), metadata, 18)
        members.append(
            BundleMember(
                name=name,
                family="forgery",
                labels=LABELS,
                input=spec,
                weight=(0.75, 0.25)[number],
                temperature=(1.0, 2.5)[number],
                operating_point=OperatingPoint(threshold=0.5, min_area_fraction=0.0),
                checkpoint_sha256=checkpoint,
                files={kind: describe(folder, member_path(name, kind)) for kind in ("torchscript", "onnx")},
            )
        )
    bundle = Bundle(
        name="tiny",
        version="1",
        labels=LABELS,
        operating_point=OperatingPoint(threshold=0.5, min_area_fraction=0.01),
        extraction=ExtractionSpec(),
        members=tuple(members),
        card=describe(folder, "card.md"),
        dataset_sha256="0" * 64,
        git_sha="unknown",
    )
    (folder / BUNDLE_FILE).write_bytes(bundle.to_document())
    return folder


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that the test may spoil."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture
def rewrite() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Change what a bundle's document says."""
    import json

    def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
        document = json.loads((folder / BUNDLE_FILE).read_bytes())
        edit(document)
        (folder / BUNDLE_FILE).write_text(json.dumps(document))

    return change
