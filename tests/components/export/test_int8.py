"""Export in INT8: what is written, what the gate refuses, and that a server runs it where it is asked to."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from starlette.testclient import TestClient
from torch import nn

from bench.face_models import write_face_model
from bundle import open_networks, read_bundle
from bundle.document import Precision, int8_path
from bundle.regions.analysis import analyze_picture
from components.export.export import ExportSummary, export
from components.export.formats import Exported, ExportError, write
from components.export.int8 import add_int8
from components.export.quantization import quantize
from core.errors import MismatchError, SettingsError
from core.settings import validate
from data.index import read_index
from data.shards import ShardReader, Span
from judging.members import load_model
from media.pictures import encode_png
from media.tensors import TensorSpec
from models.network import Part
from serving.app import create_app
from serving.service import Service
from serving.settings import ServerSettings
from tasks.regions.settings import RegionsExport
from tasks.task import ENSEMBLE, TASKS, ExportJob, ValFigure

ANY = {"min_speedup": 0.0, "max_loss": 1.0, "calibration_samples": 8}  # passes whatever tiny networks do


@pytest.fixture(scope="module")
def regions(tiny_dataset: Path, checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    """A bundle of two members that mark regions, in INT8 too."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    return export(tiny_dataset, checkpoints, folder, {"formats": ["onnx"], "int8": ANY})


@pytest.fixture(scope="module")
def faces(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    """A bundle of a Spotter and a GenConViT, in INT8 too."""
    folder = tmp_path_factory.mktemp("int8_faces")
    paths = [
        write_face_model(folder, tiny_faces, name, "s", seed) for seed, name in enumerate(("spotter", "genconvit"))
    ]
    return export(tiny_faces, paths, folder / "bundle", {"formats": ["onnx"], "int8": ANY})


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("kind", ["regions", "faces"])
def test_every_member_is_written_in_8_bits_and_follows_its_float_network(
    kind: str, request: pytest.FixtureRequest
) -> None:
    summary: ExportSummary = request.getfixturevalue(kind)
    bundle = read_bundle(summary.folder)
    fp32, int8 = open_networks(bundle, "onnx"), open_networks(bundle, "onnx", precision="int8")
    for member in bundle.document.members:
        assert member.int8 is not None
        assert member.int8.refused is None
        file = member.model.int8
        assert file is not None
        assert file in bundle.document.all_files()
        weights = [one for one in onnx.load(summary.folder / file.path).graph.initializer if one.data_type == 3]
        assert any(len(one.dims) == 4 for one in weights)  # convolutions, with a scale a channel
        assert operators(summary.folder / file.path).count("QuantizeLinear") > 0
        arrays = {
            name: np.random.default_rng(0).integers(0, 256, (3, *spec.shape)).astype(spec.dtype)
            for name, spec in member.model.inputs.items()
        }
        expected, found = fp32[member.name]["model"](arrays), int8[member.name]["model"](arrays)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            assert found[name].shape == values.shape
            assert not np.array_equal(found[name], values)
        spread = np.ptp(expected["logits"]) + np.abs(expected["logits"]).mean()
        assert np.abs(found["logits"] - expected["logits"]).mean() < 0.25 * spread


def test_the_figures_of_the_gate_are_those_of_the_networks_on_val(
    regions: ExportSummary, tiny_dataset: Path, faces: ExportSummary, tiny_faces: Path
) -> None:
    assert {member.int8.figure for member in regions.bundle.members if member.int8} == {"f1"}
    assert {member.int8.figure for member in faces.bundle.members if member.int8} == {"auc"}
    # What was chosen on val has its figures in the document: float ones of the trained network, before it was exported.
    for member in regions.bundle.members:
        assert member.int8 is not None
        assert member.int8.fp32 == pytest.approx(member.metrics["f1"], abs=5e-3)
    for member in faces.bundle.members:
        assert member.int8 is not None
        assert member.int8.fp32 == pytest.approx(member.metrics["auc"], abs=1e-6)
        assert member.int8.speedup > 0


def test_clip_networks_stay_in_float(faces: ExportSummary) -> None:
    spotter = next(member for member in faces.bundle.members if member.name == "spotter")
    assert spotter.networks["clip"].int8 is None
    assert not (faces.folder / "members/spotter/clip.int8.onnx").exists()


def test_the_card_tells_figures_and_throughput(regions: ExportSummary) -> None:
    card = (regions.folder / "card.md").read_text()
    assert "## INT8" in card
    for member in regions.bundle.members:
        assert member.int8 is not None
        assert f"| {member.name} | f1 |" in card
        assert f"| {member.int8.speedup:.2f} | yes |" in card
        assert member.model.int8 is not None
        assert member.model.int8.sha256 in card


def test_calibration_and_gate_read_val_alone(
    tiny_dataset: Path, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, int]] = set()
    read = ShardReader.read

    def watched(self: ShardReader, shard: str, *spans: Span) -> list[bytes]:
        asked.update((shard, span.offset) for span in spans)
        return read(self, shard, *spans)

    monkeypatch.setattr(ShardReader, "read", watched)
    export(tiny_dataset, checkpoints[:1], tmp_path / "bundle", {"formats": ["onnx"], "int8": ANY})
    rows = read_index(tiny_dataset).where(split="val").rows()
    assert asked
    assert asked <= {(row["shard"], row[name]) for row in rows for name in ("offset", "mask_offset")}


def test_one_that_is_too_slow_is_not_written_and_the_reason_is_kept(
    tiny_dataset: Path, checkpoints: list[Path], tmp_path: Path
) -> None:
    recipe = {"formats": ["onnx"], "int8": ANY | {"min_speedup": 1000.0}}
    summary = export(tiny_dataset, checkpoints[:1], tmp_path / "bundle", recipe)
    bundle = read_bundle(summary.folder)
    (member,) = bundle.document.members
    assert member.int8 is not None
    assert member.int8.refused is not None
    assert member.int8.refused.endswith("times the throughput of the float ONNX, asked for is 1000")
    assert member.model.int8 is None
    assert [path.name for path in (summary.folder / "members" / member.name).iterdir()] == ["model.onnx"]
    assert member.int8.refused in (summary.folder / "card.md").read_text()
    with pytest.raises(
        SettingsError, match=r"holds no network in INT8 \(colour: .* asked for is 1000\); use precision"
    ):
        open_networks(bundle, "onnx", precision="int8")


@pytest.fixture
def gated(
    exported: ExportSummary, tiny_dataset: Path, checkpoints: list[Path], tmp_path: Path
) -> Callable[..., dict[str, str | None]]:
    """Puts both members through the gate with figures that are given, call by call; returns the refusals."""
    index = read_index(tiny_dataset)
    settings = validate(RegionsExport, {"int8": ANY | {"max_loss": 0.005, "calibration_samples": 1}}, "recipe")
    networks = {loaded.member: loaded for loaded in (load_model(path, "cpu") for path in checkpoints)}
    job = ExportJob(networks, index.where(split="val"), ShardReader(index.shards), settings)
    folder = tmp_path / "bundle"
    shutil.copytree(exported.folder, folder)

    def through(*figures: Mapping[str, float]) -> dict[str, str | None]:
        calls = iter(figures)
        figure = ValFigure("f1", lambda *_: next(calls))
        task = dataclasses.replace(TASKS.get("regions"), val_figure=figure)
        bundle = add_int8(exported.bundle, folder, task, job)
        assert next(calls, None) is None
        for member in bundle.members:
            assert (folder / int8_path(member.name, "model")).exists() == (member.model.int8 is not None)
        outcomes = {member.name: member.int8 for member in bundle.members}
        return {name: one.refused for name, one in outcomes.items() if one is not None}

    return through


def figures(colour: float, ela: float, ensemble: float) -> dict[str, float]:
    return {"colour": colour, "ela": ela, ENSEMBLE: ensemble}


def test_a_member_may_lose_as_much_as_is_tolerated_and_no_more(gated: Callable[..., dict[str, str | None]]) -> None:
    found = gated(figures(0.5, 0.5, 0.5), figures(0.4951, 0.4949, 0.5), figures(0, 0, 0.5))
    assert found == {"colour": None, "ela": "f1 on val 0.4949, in float 0.5000: more than 0.005 lost"}


def test_a_member_that_gains_passes(gated: Callable[..., dict[str, str | None]]) -> None:
    assert gated(figures(0.5, 0.5, 0.5), figures(0.6, 0.5, 0.5)) == {"colour": None, "ela": None}


def test_what_is_undefined_does_not_pass(gated: Callable[..., dict[str, str | None]]) -> None:
    found = gated(figures(math.nan, 0.5, 0.5), figures(math.nan, 0.5, 0.5), figures(0, 0, 0.5))
    assert found["ela"] is None
    assert found["colour"] == "f1 on val nan, in float nan: more than 0.005 lost"


def test_an_ensemble_that_loses_keeps_all_its_members_in_float(gated: Callable[..., dict[str, str | None]]) -> None:
    found = gated(figures(0.5, 0.5, 0.7), figures(0.5, 0.5, 0.6))
    reason = "together with colour and ela the ensemble's f1 on val 0.6000, in float 0.7000: more than 0.005 lost"
    assert found == {"colour": reason, "ela": reason}


def test_int8_needs_the_format_it_is_made_from() -> None:
    with pytest.raises(SettingsError, match="int8 is made from the format onnx"):
        validate(RegionsExport, {"formats": ["torchscript"], "int8": {}}, "recipe")


def test_the_file_in_8_bits_says_what_it_is_of_and_is_verified_before_it_is_loaded(
    regions: ExportSummary, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(regions.folder, folder)
    path = folder / int8_path("colour", "model")
    properties = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert json.loads(properties["veriframe.json"])["member"] == "colour"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MismatchError, match=r"model\.int8\.onnx"):
        read_bundle(folder)


def test_the_first_convolutions_and_the_heads_stay_in_float(tmp_path: Path) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.Sequential(*(nn.Conv2d(4 if one else 3, 4, 3) for one in range(5)))
            self.head = nn.Linear(4, 1)

        def forward(self, views: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor]:
            return (self.head(self.convolutions(views["tiles"].float()).mean(dim=(2, 3))),)

    inputs = {"tiles": TensorSpec(datatype="UINT8", shape=(3, 16, 16))}
    source, target = tmp_path / "deep" / "model.onnx", tmp_path / "deep" / "model.int8.onnx"
    source.parent.mkdir()
    write(Exported(Part(Deep(), inputs)).eval(), "onnx", source, "{}", 18)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    quantize(source, target, [{"tiles": pixels}])
    kinds = {one.name: one.data_type for one in onnx.load(target).graph.initializer if len(one.dims) in (2, 4)}
    assert sorted(kinds.values()) == [onnx.TensorProto.FLOAT] * 4 + [onnx.TensorProto.INT8] * 2


def test_a_network_that_cannot_be_quantised_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = tmp_path / "mine" / "model.onnx"
    source.parent.mkdir()
    source.write_bytes(b"no network")
    with pytest.raises(ExportError, match="mine cannot be quantised"):
        quantize(source, tmp_path / "int8.onnx", [{"tiles": np.zeros((1, 3, 8, 8), dtype=np.uint8)}])
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("wrong", [{"runtime": "torchscript"}, {"device": "cuda"}])
def test_int8_runs_on_onnx_and_the_cpu_alone(wrong: dict[str, str], regions: ExportSummary) -> None:
    settings = ServerSettings.model_validate({"bundle": str(regions.folder), "precision": "int8", **wrong})
    service = Service(settings)
    with pytest.raises(SettingsError, match=r"precision 'int8' runs on runtime 'onnx' and device 'cpu'|holds no"):
        service.load()
    service.close()


def test_a_server_runs_the_networks_in_int8_only_where_it_is_told_to(regions: ExportSummary) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    data = encode_png(rgb)
    scores = {}
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        service = Service(ServerSettings(bundle=str(regions.folder), threads=1, precision=precision))
        service.load()
        with TestClient(create_app(service)) as client:
            answer = client.post("/v1/analyze", files={"file": data}).json()
            assert f'precision="{precision}"' in client.get("/metrics").text
        service.close()
        networks = open_networks(read_bundle(regions.folder), "onnx", threads=1, precision=precision)
        direct = analyze_picture(rgb, regions.bundle, networks)
        assert answer["score"] == pytest.approx(direct.verdict.score, abs=2e-6)
        scores[precision] = answer["score"]
    assert scores["fp32"] != scores["int8"]
