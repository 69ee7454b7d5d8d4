"""Bundles and evaluations to publish; the networks are random bytes, which publication does not look into."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import (
    BUNDLE_FILE,
    MODEL,
    Bundle,
    BundleFile,
    BundleMember,
    ExportedNetwork,
    VerifiedBundle,
    network_path,
    read_bundle,
)
from bundle.document import FORMAT_SUFFIXES
from bundle.regions.verdict import OperatingPoint
from core.files import write_bytes
from media.extraction import ExtractionSpec
from media.spec import InputSpec
from media.tensors import TensorSpec

INPUT = InputSpec(views={"tiles": {}})

MakeBundle = Callable[..., Path]
MakeEvaluation = Callable[..., Path]


def _write(folder: Path, path: str, data: bytes) -> BundleFile:
    write_bytes(folder / path, data)
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _network(folder: Path, member: str, generator: np.random.Generator) -> ExportedNetwork:
    files = {
        kind: _write(folder, network_path(member, MODEL, kind), generator.bytes(5_000)) for kind in FORMAT_SUFFIXES
    }
    logits = TensorSpec(datatype="FP32", shape=(1, *INPUT.only.tensor.shape[1:]))
    return ExportedNetwork(inputs=INPUT.signature, outputs={"logits": logits}, files=files)


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a valid bundle; ``seed`` decides the content of its files."""

    def make(version: str = "1", seed: int = 0, members: tuple[str, ...] = ("a", "b")) -> Path:
        folder = tmp_path / f"bundle-{version}-{seed}-{len(members)}"
        generator = np.random.default_rng(seed)
        point = OperatingPoint(threshold=0.5, min_area_fraction=0.01)
        described = tuple(
            BundleMember(
                name=name,
                family="forgery",
                input=INPUT,
                weight=1 / len(members),
                temperature=1.0,
                decision=point,
                checkpoint_sha256="0" * 64,
                networks={MODEL: _network(folder, name, generator)},
            )
            for name in members
        )
        bundle = Bundle(
            name="forgery",
            version=version,
            task="regions",
            classes=("authentic", "forged"),
            decision=point,
            extraction=ExtractionSpec(),
            members=described,
            card=_write(folder, "card.md", b"# card\n"),
            dataset_sha256="0" * 64,
            git_sha="unknown",
        )
        write_bytes(folder / BUNDLE_FILE, bundle.to_document())
        return folder

    return make


@pytest.fixture
def make_evaluation(tmp_path: Path) -> MakeEvaluation:
    """Write an evaluation of a bundle with the figures given, as the evaluation step lays it out."""
    made: list[Path] = []

    def make(
        bundle: Path,
        f1: float | None = 0.6,
        authentic_fpr: float | None = 0.02,
        degraded: dict[str, float | None] | None = None,
        dataset_sha256: str = "1" * 64,
        current: VerifiedBundle | None = None,
        current_f1: float | None = None,
        left_out: str = "",
    ) -> Path:
        worse = {"jpeg70": 0.5, "noise": 0.45} if degraded is None else degraded
        verified = read_bundle(bundle)
        groups = {"bundle": _group(verified, f1, authentic_fpr, worse)}
        if current is not None:
            groups["current"] = _group(current, current_f1, authentic_fpr, worse)
        document = {
            "task": "regions",
            "bundle": _identity(verified),
            "current": None if current is None else _identity(current),
            "left_out": left_out,
            "main_dataset": "set",
            "datasets": {"set": {"sha256": dataset_sha256}},
            "recipe": {"degradations": list(worse)},
            "groups": groups,
        }
        folder = tmp_path / f"evaluation-{len(made)}"
        made.append(folder)
        write_bytes(folder / "metrics.json", json.dumps(document).encode())
        write_bytes(folder / "figures.md", b"# figures\n")
        return folder

    return make


def _identity(bundle: VerifiedBundle) -> dict[str, str]:
    document = bundle.document
    return {"name": document.name, "version": document.version, "sha256": bundle.sha256, "runtime": "onnx"}


def _group(
    bundle: VerifiedBundle, f1: float | None, authentic_fpr: float | None, degraded: dict[str, float | None]
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "f1": f1,
        "iou": None,
        "authentic_fpr": authentic_fpr,
        "authentic_fp_fraction": 0.001,
        "forged_recall": 0.7,
    }
    part = {"datasets": {"set": figures}}
    return {
        "ensemble": part,
        "members": dict.fromkeys((member.name for member in bundle.document.members), part),
        "robustness": {name: figures | {"f1": value} for name, value in degraded.items()},
    }
