from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bundle import Format, open_networks, read_bundle
from bundle.faces.analysis import analyze_faces
from bundle.faces.verdict import FaceDecision
from components.export.export import ExportSummary, export
from components.export.parity import ParityError
from core.errors import MismatchError
from data.index import read_index
from data.shards import ShardReader
from data.stored import load_sample
from judging.guard import SplitLeakError
from judging.members import load_model
from tasks.faces.calibration import calibrate_media, choose_media_threshold
from tasks.faces.media_scores import collect_media
from tasks.faces.prediction import FaceMember, MediumPrediction, predict_media

Make = Callable[..., Path]
MEMBERS = ["spotter", "genconvit"]
FORMATS: list[Format] = ["torchscript", "onnx"]
ONE_FORMAT: dict[str, Any] = {"name": "faces", "formats": ["torchscript"]}


@pytest.fixture(scope="module")
def paths(make_face_model: Make) -> list[Path]:
    return [make_face_model("spotter", seed=1), make_face_model("genconvit", seed=2)]


@pytest.fixture(scope="module")
def summary(tiny_faces: Path, paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    recipe = {"name": "faces", "threshold": "balanced_accuracy"}
    return export(tiny_faces, paths, tmp_path_factory.mktemp("bundle") / "bundle", recipe)


@pytest.fixture(scope="module")
def predictions(tiny_faces: Path, paths: list[Path]) -> list[MediumPrediction]:
    index = read_index(tiny_faces)
    loaded = [load_model(path, "cpu") for path in paths]
    members = [FaceMember(one.member, one.network, one.spec.input, one.family.clips) for one in loaded]
    return list(predict_media(members, index.where(split="val"), ShardReader(index.shards), device="cpu"))


def test_the_bundle_describes_both_networks_of_each_member(summary: ExportSummary, tiny_faces: Path) -> None:
    document = read_bundle(summary.folder).document
    assert document == summary.bundle
    assert (document.task, document.classes) == ("faces", read_index(tiny_faces).spec.classes)
    assert document.extraction == read_index(tiny_faces).spec.extraction
    spotter, genconvit = document.members
    assert list(spotter.model.inputs) == list(genconvit.model.inputs) == ["face"]
    outputs = {name: spec.shape for name, spec in spotter.model.outputs.items()}
    assert outputs == {"logits": (1,), "vectors": (24,), "heatmap": (1, 8, 8)}
    clip = spotter.networks["clip"]
    assert {name: (spec.datatype, spec.shape) for name, spec in clip.inputs.items()} == {
        "vectors": ("FP32", (2, 24)), "lengths": ("INT64", ())
    }  # fmt: skip
    assert set(clip.files) == {"onnx", "torchscript"}
    assert (list(genconvit.model.outputs), set(genconvit.networks)) == (["logits"], {"model"})


def test_every_output_was_compared_in_every_format_at_every_batch_size(summary: ExportSummary) -> None:
    compared = {(p.member, p.output) for p in summary.parity}
    assert compared == {
        ("spotter", "logits"), ("spotter", "heatmap"), ("spotter", "clip"), ("genconvit", "logits")
    }  # fmt: skip
    assert {(p.format, p.batch_size) for p in summary.parity} == {(kind, n) for kind in FORMATS for n in (1, 4)}
    assert len(summary.parity) == 4 * 4
    assert max(p.difference for p in summary.parity) < 1e-3


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bundle_gives_of_a_medium_what_its_members_give(
    summary: ExportSummary, predictions: list[MediumPrediction], tiny_faces: Path, kind: Format
) -> None:
    index = read_index(tiny_faces)
    reader = ShardReader(index.shards)
    networks = open_networks(read_bundle(summary.folder), kind)
    media = collect_media(predictions, MEMBERS)
    fitted = calibrate_media(media, MEMBERS)
    assert {m.name: (m.temperature, m.weight) for m in summary.bundle.members} == {
        name: (one.temperature, one.weight) for name, one in fitted.members.items()
    }
    expected = media.scores(fitted.members)
    for medium, score in zip(predictions, expected, strict=True):
        crops = [
            SimpleNamespace(track=row["track"], run=row["run"], frame=row["frame"], sample=load_sample(row, reader))
            for track in medium.tracks
            for row in track.rows
        ]
        verdict = analyze_faces(SimpleNamespace(crops=crops), summary.bundle, networks)
        assert verdict.probability == pytest.approx(score, abs=1e-4)


def test_the_threshold_is_the_one_that_val_chooses(summary: ExportSummary, predictions: list[MediumPrediction]) -> None:
    media = collect_media(predictions, MEMBERS)
    fitted = calibrate_media(media, MEMBERS)
    scores = media.scores(fitted.members)
    assert isinstance(summary.bundle.decision, FaceDecision)
    called = scores >= summary.bundle.decision.threshold
    accuracy = (called[media.label == 1].mean() + 1 - called[media.label == 0].mean()) / 2
    best = max(
        ((scores >= cut)[media.label == 1].mean() + 1 - (scores >= cut)[media.label == 0].mean()) / 2
        for cut in [*scores, 1.0]
    )
    assert accuracy == pytest.approx(best)
    assert summary.bundle.metrics["balanced_accuracy"] == pytest.approx(best, abs=1e-6)
    strict = choose_media_threshold(media, fitted.members, rule="ceiling", max_authentic_fpr=0.0)
    assert not (scores >= strict.decision.threshold)[media.label == 0].any()


def test_calibration_refuses_media_of_another_split(predictions: list[MediumPrediction]) -> None:
    moved = [replace(predictions[0], row={**predictions[0].row, "split": "test"}), predictions[1]]
    media = collect_media(moved, MEMBERS)
    with pytest.raises(SplitLeakError, match="calibration is chosen on the val split alone"):
        calibrate_media(media, ["spotter"])
    fitted = calibrate_media(collect_media(predictions, MEMBERS), ["spotter"])
    with pytest.raises(SplitLeakError, match="threshold is chosen on the val split alone"):
        choose_media_threshold(media, fitted.members, rule="ceiling", max_authentic_fpr=0.1)


def test_a_heatmap_out_of_tolerance_keeps_the_bundle_from_being_written(
    tiny_faces: Path, paths: list[Path], tmp_path: Path
) -> None:
    recipe = ONE_FORMAT | {"parity": {"max_heatmap_difference": 1e-12}}
    with pytest.raises(ParityError, match="spotter as torchscript, heatmap, batch"):
        export(tiny_faces, paths[:1], tmp_path / "bundle", recipe)
    assert list(tmp_path.iterdir()) == []


def test_the_card_speaks_of_media(summary: ExportSummary) -> None:
    card = (summary.folder / "card.md").read_text()
    assert "A medium counts as manipulated from a probability of" in card
    assert "clips of 2 frames" in card
    assert "members/spotter/clip.onnx" in card
    assert "pixel" not in card.split("## Limits")[0].partition("## Members")[2]


def test_members_of_two_tasks_make_no_bundle(
    tiny_dataset: Path, tiny_faces: Path, paths: list[Path], checkpoints: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(MismatchError, match="the view tiles is of whole pictures"):
        export(tiny_faces, [paths[0], checkpoints[0]], tmp_path / "bundle", ONE_FORMAT)
    with pytest.raises(MismatchError, match="is of faces"):
        export(tiny_dataset, [paths[0]], tmp_path / "bundle", ONE_FORMAT)
