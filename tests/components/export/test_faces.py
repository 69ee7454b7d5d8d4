from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bundle import Format, open_faces, read_bundle
from bundle.faces.analysis import judge_faces
from components.export.export import ExportSummary, export
from components.export.faces import sample_clips
from components.export.parity import ParityError
from components.export.recipe import ExportRecipe
from core.errors import BadInputError
from data.datasets import load_sample
from data.index import read_index
from data.shards import ShardReader
from judging.faces import FaceMember, JudgedMedium, judge_media
from judging.guard import SplitLeakError
from judging.media import collect_media
from judging.media_calibration import calibrate_media, choose_media_threshold
from judging.members import load_model

Make = Callable[..., Path]
FORMATS: list[Format] = ["torchscript", "onnx"]
ONE_FORMAT = ExportRecipe(name="faces", formats=("torchscript",))


@pytest.fixture(scope="module")
def paths(make_face_model: Make) -> list[Path]:
    return [make_face_model("spotter", seed=1), make_face_model("genconvit", seed=2)]


@pytest.fixture(scope="module")
def summary(tiny_faces: Path, paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    recipe = ExportRecipe(name="faces", threshold="balanced_accuracy")
    return export(tiny_faces, paths, tmp_path_factory.mktemp("bundle") / "bundle", recipe)


@pytest.fixture(scope="module")
def judged(tiny_faces: Path, paths: list[Path]) -> list[JudgedMedium]:
    index = read_index(tiny_faces)
    loaded = [load_model(path, "cpu") for path in paths]
    members = [FaceMember(one.member, one.network, one.spec.input, one.family.clips) for one in loaded]
    return list(judge_media(members, index.where(split="val"), ShardReader(index.shards), device="cpu"))


def test_the_bundle_describes_both_networks_of_each_member(summary: ExportSummary, tiny_faces: Path) -> None:
    document = read_bundle(summary.folder).document
    assert document == summary.bundle
    assert (document.task, document.labels) == ("classification", ("real", "manipulated"))
    assert document.extraction == read_index(tiny_faces).spec.extraction
    spotter, genconvit = document.members
    assert spotter.outputs == ("logits", "vectors", "heatmap")
    assert set(spotter.clip_files) == {"onnx", "torchscript"}
    assert spotter.vector_width == 24
    assert spotter.heatmap_size is not None
    assert (genconvit.outputs, genconvit.clip_files, genconvit.vector_width) == (("logits",), {}, None)


def test_every_output_was_compared_in_every_format_at_every_batch_size(summary: ExportSummary) -> None:
    compared = {(p.member, p.output) for p in summary.parity}
    assert compared == {
        ("spotter", "logits"), ("spotter", "heatmap"), ("spotter", "clip"), ("genconvit", "logits")
    }  # fmt: skip
    assert {(p.format, p.batch_size) for p in summary.parity} == {(kind, n) for kind in FORMATS for n in (1, 4)}
    assert len(summary.parity) == 4 * 4
    assert max(p.difference for p in summary.parity) < 1e-3


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bundle_says_of_a_medium_what_judging_with_its_members_says(
    summary: ExportSummary, judged: list[JudgedMedium], tiny_faces: Path, kind: Format
) -> None:
    index = read_index(tiny_faces)
    reader = ShardReader(index.shards)
    runs = open_faces(read_bundle(summary.folder), kind)
    media = collect_media(judged)
    fitted = calibrate_media(media, ["spotter", "genconvit"])
    assert {m.name: (m.temperature, m.weight) for m in summary.bundle.members} == {
        name: (one.temperature, one.weight) for name, one in fitted.members.items()
    }
    expected = media.scores(fitted.members)
    for medium, score in zip(judged, expected, strict=True):
        crops = [
            SimpleNamespace(track=track.rows[0]["track"], rgb=load_sample(row, reader)[0])
            for track in medium.tracks
            for row in track.rows
        ]
        verdict = judge_faces(SimpleNamespace(crops=crops), summary.bundle, runs)
        assert verdict.probability == pytest.approx(score, abs=1e-4)


def test_the_threshold_is_the_one_that_val_chooses(summary: ExportSummary, judged: list[JudgedMedium]) -> None:
    media = collect_media(judged)
    fitted = calibrate_media(media, ["spotter", "genconvit"])
    scores = media.scores(fitted.members)
    called = scores >= summary.bundle.operating_point.threshold
    accuracy = (called[media.label == 1].mean() + 1 - called[media.label == 0].mean()) / 2
    best = max(
        ((scores >= cut)[media.label == 1].mean() + 1 - (scores >= cut)[media.label == 0].mean()) / 2
        for cut in [*scores, 1.0]
    )
    assert accuracy == pytest.approx(best)
    assert summary.bundle.metrics["balanced_accuracy"] == pytest.approx(best, abs=1e-6)
    strict = choose_media_threshold(media, fitted.members, rule="ceiling", max_authentic_fpr=0.0)
    assert not (scores >= strict.point.threshold)[media.label == 0].any()


def test_calibration_refuses_media_of_another_split(judged: list[JudgedMedium]) -> None:
    media = collect_media(judged[:2])
    media.media[0].columns["split"] = "test"  # type: ignore[index]
    with pytest.raises(SplitLeakError, match="calibration is chosen on the val split alone"):
        calibrate_media(media, ["spotter"])
    with pytest.raises(SplitLeakError, match="threshold is chosen on the val split alone"):
        choose_media_threshold(
            media, calibrate_media(collect_media(judged), ["spotter"]).members, rule="ceiling", max_authentic_fpr=0.1
        )


def test_clips_for_the_gate_differ_in_length(tiny_faces: Path, summary: ExportSummary) -> None:
    index = read_index(tiny_faces)
    spec = summary.bundle.members[0].input
    clips = sample_clips(index.where(split="val"), ShardReader(index.shards), spec, 4)
    assert [len(clip) for clip in clips] == [2, 1, 2, 1]
    assert all(clip.shape[1:] == (3, 64, 64) and clip.dtype == np.uint8 for clip in clips)


def test_a_heatmap_out_of_tolerance_keeps_the_bundle_from_being_written(
    tiny_faces: Path, paths: list[Path], tmp_path: Path
) -> None:
    recipe = ONE_FORMAT.model_copy(
        update={"parity": ONE_FORMAT.parity.model_copy(update={"max_heatmap_difference": 1e-12})}
    )
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
    from core.errors import MismatchError

    with pytest.raises((BadInputError, MismatchError)):
        export(tiny_faces, [paths[0], checkpoints[0]], tmp_path / "bundle", ONE_FORMAT)
    with pytest.raises((BadInputError, MismatchError)):
        export(tiny_dataset, [paths[0]], tmp_path / "bundle", ONE_FORMAT)
