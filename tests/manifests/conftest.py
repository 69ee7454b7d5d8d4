"""Manifests as kubectl renders them.

Nothing has to be installed: kubectl and the schemas of three Kubernetes versions come in locked wheels (make setup).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.__main__ import build

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
KUSTOMIZATIONS = ("overlays/cpu", "overlays/gpu", "pipelines")
Objects = dict[str, dict[str, Any]]  # by kind; no kustomization has two of one


@pytest.fixture(scope="session")
def rendered() -> dict[str, Objects]:
    """The objects of every kustomization."""
    found = {}
    for name in KUSTOMIZATIONS:
        objects = [document for document in yaml.safe_load_all(build(MANIFESTS / name)) if document]
        found[name] = {document["kind"]: document for document in objects}
        assert len(found[name]) == len(objects)
    return found


@pytest.fixture(params=["cpu", "gpu"])
def overlay(request: pytest.FixtureRequest, rendered: dict[str, Objects]) -> Objects:
    """The objects of one overlay, then of the other."""
    return rendered[f"overlays/{request.param}"]


@pytest.fixture
def pod(overlay: Objects) -> dict[str, Any]:
    """The specification of an overlay's pods."""
    spec: dict[str, Any] = overlay["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The only container of an overlay's pods."""
    (only,) = pod["containers"]
    assert "initContainers" not in pod
    return dict(only)


@pytest.fixture(scope="session")
def quantity() -> Callable[[str], float]:
    """Reads a Kubernetes quantity as a number: of bytes, or of cores."""
    suffixes = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

    def read(text: str) -> float:
        for suffix, factor in suffixes.items():
            if text.endswith(suffix):
                return float(text.removesuffix(suffix)) * factor
        return float(text)

    return read
