"""A real bundle of two tiny networks, exported as TorchScript and as ONNX."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.bundles import TINY_SPECS, tiny_networks, write_tiny_bundle
from bundle import BUNDLE_FILE, Run, seal
from bundle.document import SEAL
from components.export.networks import eager_run, take_apart


@pytest.fixture(scope="session")
def networks() -> dict[str, dict[str, Run]]:
    """The eager networks of the bundle's members, in the form in which exported ones are opened."""
    return {
        member: {name: eager_run(part) for name, part in take_apart(network, TINY_SPECS[member]).items()}
        for member, network in tiny_networks().items()
    }


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's folder; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that the test may spoil."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture
def rewrite() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Change what a bundle's document says, under a seal that fits."""
    import json

    def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
        document = json.loads((folder / BUNDLE_FILE).read_bytes())
        del document[SEAL]
        edit(document)
        (folder / BUNDLE_FILE).write_bytes(seal(document))

    return change
