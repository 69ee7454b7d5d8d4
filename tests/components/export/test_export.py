import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from bundle import BUNDLE_FILE, Format, open_networks, read_bundle
from bundle.regions.analysis import analyze_picture
from components.export.__main__ import main
from components.export.export import ExportSummary, export
from components.export.parity import ParityError
from core.errors import BadInputError, MismatchError, SettingsError, StorageError
from core.files import sha256_file
from data.index import INDEX_FILE, SPEC_FILE, SampleIndex, read_index, schema_for
from data.shards import ShardReader
from data.stored import load_sample
from tasks.regions.loading import load_member
from tasks.regions.prediction import Member, predict_pictures
from tasks.task import ENSEMBLE

MakeCheckpoint = Callable[..., Path]
ONE_FORMAT: dict[str, Any] = {"formats": ["torchscript"]}  # where the formats are not the point
ROOT = Path(__file__).resolve().parents[3]


def val(dataset: Path) -> tuple[SampleIndex, ShardReader]:
    index = read_index(dataset)
    return index.where(split="val"), ShardReader(index.shards)


def relabelled(dataset: Path, folder: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Copy an index with its table changed."""
    folder.mkdir(parents=True)
    shutil.copy(dataset / SPEC_FILE, folder / SPEC_FILE)
    table = pq.read_table(dataset / INDEX_FILE)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), folder / INDEX_FILE)
    return folder


def test_what_was_written_is_a_bundle_that_verifies(exported: ExportSummary, tiny_dataset: Path) -> None:
    read = read_bundle(exported.folder)
    assert read.document == exported.bundle
    assert read.sha256 == exported.sha256 == sha256_file(exported.folder / BUNDLE_FILE)
    assert [member.name for member in read.document.members] == ["colour", "ela"]
    assert read.document.formats == ("onnx", "torchscript")
    assert read.document.dataset_sha256 == read_index(tiny_dataset).sha256
    assert sum(member.weight for member in read.document.members) == pytest.approx(1, abs=1e-6)
    assert not [path for path in exported.folder.parent.iterdir() if path != exported.folder]


def test_every_format_was_compared_at_every_batch_size(exported: ExportSummary) -> None:
    compared = {(p.member, p.format, p.batch_size) for p in exported.parity}
    assert compared == {
        (member, kind, batch) for member in ("colour", "ela") for kind in ("torchscript", "onnx") for batch in (1, 4)
    }
    assert max(p.difference for p in exported.parity) < 1e-3


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_the_bundle_gives_of_a_picture_what_its_members_give(
    exported: ExportSummary, checkpoints: list[Path], tiny_dataset: Path, kind: Format
) -> None:
    index, reader = val(tiny_dataset)
    document = exported.bundle
    members = [
        Member(described.name, loaded.network, loaded.input, described.temperature, described.weight)
        for described, loaded in zip(document.members, (load_member(path, "cpu") for path in checkpoints), strict=True)
    ]
    networks = open_networks(read_bundle(exported.folder), kind)
    for prediction in predict_pictures(members, index, reader, device="cpu"):
        verdict = analyze_picture(prediction.rgb, document, networks)
        np.testing.assert_allclose(verdict.probability, prediction.probabilities[ENSEMBLE], atol=1e-4)


def test_a_picture_larger_than_a_tile_is_analyzed_at_its_own_resolution(exported: ExportSummary) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (150, 210, 3), dtype=np.uint8)
    networks = open_networks(read_bundle(exported.folder), "onnx")
    verdict = analyze_picture(rgb, exported.bundle, networks)
    assert verdict.probability.shape == verdict.verdict.mask.shape == (150, 210)


def test_the_operating_point_is_the_one_that_the_bundle_reaches_on_val(
    exported: ExportSummary, tiny_dataset: Path
) -> None:
    index, reader = val(tiny_dataset)
    networks = open_networks(read_bundle(exported.folder), "torchscript")
    called: dict[int, list[bool]] = {0: [], 1: []}
    for row in index.rows():
        rgb = load_sample(row, reader).rgb
        called[row["label"]].append(analyze_picture(rgb, exported.bundle, networks).verdict.forged)
    assert np.mean(called[0]) == pytest.approx(exported.bundle.metrics["authentic_fpr"], abs=1e-6)
    assert np.mean(called[1]) == pytest.approx(exported.bundle.metrics["forged_recall"], abs=1e-6)


def test_nothing_but_val_decides(
    exported: ExportSummary, checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path
) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        other = pc.not_equal(table["split"], "val")
        label = pc.if_else(other, pc.subtract(1, pc.cast(table["label"], pa.int64())), table["label"])
        shard = pc.if_else(other, "0" * 64 + ".tar", table["shard"])  # reading it would be an error
        table = table.set_column(table.schema.get_field_index("label"), "label", pc.cast(label, pa.int8()))
        return table.set_column(table.schema.get_field_index("shard"), "shard", shard)

    spoilt = relabelled(tiny_dataset, tmp_path / "spoilt", spoil)
    again = export(spoilt, checkpoints, tmp_path / "bundle", ONE_FORMAT).bundle
    assert again.decision == exported.bundle.decision
    assert [(m.weight, m.temperature, m.decision) for m in again.members] == [
        (m.weight, m.temperature, m.decision) for m in exported.bundle.members
    ]


def test_a_bundle_that_fails_its_gate_is_not_written(
    checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path
) -> None:
    strict = ONE_FORMAT | {"parity": {"max_logit_difference": 1e-12, "max_flipped_share": 0}}
    output = tmp_path / "bundle"
    with pytest.raises(ParityError, match="colour as torchscript, logits, batch 1: largest logit difference"):
        export(tiny_dataset, checkpoints[:1], output, strict)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_bundle_that_was_there(
    exported: ExportSummary, checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "bundle"
    shutil.copytree(exported.folder, output)
    strict = ONE_FORMAT | {"parity": {"max_logit_difference": 1e-12}}
    with pytest.raises(ParityError):
        export(tiny_dataset, checkpoints[:1], output, strict)
    assert read_bundle(output).sha256 == exported.sha256
    assert list(tmp_path.iterdir()) == [output]


def test_a_new_export_replaces_a_bundle_but_nothing_else(
    exported: ExportSummary, checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "bundle"
    shutil.copytree(exported.folder, output)
    summary = export(tiny_dataset, checkpoints[:1], output, ONE_FORMAT)
    assert read_bundle(output).sha256 == summary.sha256 != exported.sha256
    assert not (output / "members" / "ela").exists()
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="exists and is no bundle"):
        export(tiny_dataset, checkpoints[:1], keep, ONE_FORMAT)
    assert (keep / "thesis.txt").exists()


def test_a_lone_member_is_the_ensemble(checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path) -> None:
    bundle = export(tiny_dataset, checkpoints[:1], tmp_path / "bundle", ONE_FORMAT).bundle
    (member,) = bundle.members
    assert member.weight == 1
    assert member.decision == bundle.decision
    assert member.metrics == bundle.metrics


def test_calibration_and_weights_can_be_left_out(checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path) -> None:
    recipe = ONE_FORMAT | {"calibrate": False, "fit_weights": False}
    bundle = export(tiny_dataset, checkpoints, tmp_path / "bundle", recipe).bundle
    assert [(member.temperature, member.weight) for member in bundle.members] == [(1, 0.5), (1, 0.5)]


def test_the_version_can_be_given_and_else_follows_the_content(
    exported: ExportSummary,
    checkpoints: list[Path],
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VERIFRAME_GIT_SHA", "abcdef0123456789")
    given = export(tiny_dataset, checkpoints[:1], tmp_path / "a", ONE_FORMAT | {"version": "7.1"})
    assert given.bundle.version == "7.1"
    derived = export(tiny_dataset, checkpoints[:1], tmp_path / "b", ONE_FORMAT)
    prefix, _, content = derived.bundle.version.partition("-")
    assert prefix == "abcdef01"
    assert len(content) == 12
    other = export(tiny_dataset, checkpoints[:1], tmp_path / "c", ONE_FORMAT | {"licence": "MIT"})
    assert other.bundle.version != derived.bundle.version


def test_the_same_inputs_give_the_same_bytes(checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VERIFRAME_GIT_SHA": "abcdef0123456789"}
    command = [sys.executable, "-m", "components.export", f"--dataset={tiny_dataset}", f"--model={checkpoints[0]}"]
    # Each process has another seed of the hashes of strings.
    processes = [
        subprocess.Popen([*command, f"--output={tmp_path / name}"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        for name in ("first", "second")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert read_bundle(tmp_path / "first").sha256 == read_bundle(tmp_path / "second").sha256


def test_the_card_tells_what_a_person_must_know(exported: ExportSummary, tiny_dataset: Path) -> None:
    card = (exported.folder / "card.md").read_text()
    document = exported.bundle
    assert card.startswith(f"# regions {document.version}\n")
    assert "| train | 12 | 6 | 6 | 12 |" in card
    assert "| val | 6 | 3 | 3 | 6 |" in card
    assert f"probability of {document.decision.threshold:g} on" in card
    assert "## Limits" in card
    assert "Apache-2.0" in card
    assert "python -m bundle verify" in card
    for member in document.members:
        assert member.checkpoint_sha256 in card
        assert all(file.sha256 in card for file in member.model.files.values())
    assert "| ela | forgery | tiles 6 × 96 × 96 |" in card


def test_the_card_shows_the_figures_of_each_member_on_val_and_says_where_those_on_test_are(
    exported: ExportSummary,
) -> None:
    card, document = (exported.folder / "card.md").read_text(), exported.bundle
    assert "| figure on val | ensemble | colour | ela |" in card
    values = (owner.metrics["f1"] for owner in (document, *document.members))
    assert f"| f1 | {' | '.join(f'{value:.4g}' for value in values)} |" in card
    assert "`figures.md`" in card.partition("## Evaluation")[2].partition("##")[0]


def test_two_models_of_one_member_are_refused(
    checkpoints: list[Path], make_checkpoint: MakeCheckpoint, tiny_dataset: Path, tmp_path: Path
) -> None:
    twin = make_checkpoint("colour", 5, stage="v3")
    with pytest.raises(SettingsError, match="second model of the member 'colour'"):
        export(tiny_dataset, [checkpoints[0], twin], tmp_path / "bundle", ONE_FORMAT)


def test_a_model_that_cannot_read_the_samples_is_refused(
    make_face_model: MakeCheckpoint, tiny_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(MismatchError, match="the view face is of faces, and the data set holds whole pictures"):
        export(tiny_dataset, [make_face_model("spotter")], tmp_path / "bundle", ONE_FORMAT)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_val_split_of_one_class_is_refused(
    checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path, kept: int
) -> None:
    def drop(table: pa.Table) -> pa.Table:
        return table.filter(pc.or_(pc.not_equal(table["split"], "val"), pc.equal(table["label"], kept)))

    poor = relabelled(tiny_dataset, tmp_path / "poor", drop)
    with pytest.raises(BadInputError) as caught:
        export(poor, checkpoints[:1], tmp_path / "bundle", ONE_FORMAT)
    assert caught.value.reason == "empty-class"


def test_an_index_without_val_is_refused(checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path) -> None:
    poor = relabelled(tiny_dataset, tmp_path / "poor", lambda table: table.filter(pc.equal(table["split"], "test")))
    for recipe in (ONE_FORMAT, ONE_FORMAT | {"calibrate": False, "fit_weights": False}):
        with pytest.raises(BadInputError) as caught:
            export(poor, checkpoints[:1], tmp_path / "bundle", recipe)
        assert caught.value.reason == "empty-class"


def test_an_export_of_nothing_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one model"):
        export(tiny_dataset, [], tmp_path / "bundle", ONE_FORMAT)


def test_the_command_line_prints_what_was_written(
    checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"formats": ["torchscript"], "name": "mine", "version": "1"}))
    common = [f"--dataset={tiny_dataset}", f"--output={tmp_path / 'bundle'}"]
    assert main([*common, f"--model={checkpoints[0]}", f"--recipe={recipe}"]) == 0
    assert f"mine 1, sha256 {read_bundle(tmp_path / 'bundle').sha256}" in capsys.readouterr().out
    assert main([*common, f"--model={tmp_path / 'absent.pth'}"]) == 1
    assert "absent.pth" in capsys.readouterr().err


def test_a_wrong_recipe_names_the_key(
    checkpoints: list[Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("parity: {batch_sizes: [1]}\nformats: [tflite]\nthreshold: ceiling\n")
    arguments = [f"--dataset={tiny_dataset}", f"--model={checkpoints[0]}", f"--output={tmp_path / 'bundle'}"]
    assert main([*arguments, f"--recipe={recipe}"]) == 1
    message = capsys.readouterr().err
    assert "parity.batch_sizes" in message
    assert "formats.0" in message
    assert "threshold = 'ceiling': unknown key" in message


def test_members_of_other_classes_make_no_bundle(
    checkpoints: list[Path], make_checkpoint: MakeCheckpoint, tiny_dataset: Path, tmp_path: Path
) -> None:
    other = make_checkpoint("other", classes=("real", "fake"))
    with pytest.raises(MismatchError, match="the same classes; colour: authentic, forged; other: real, fake"):
        export(tiny_dataset, [checkpoints[0], other], tmp_path / "bundle", ONE_FORMAT)


def test_schema_metadata_survives_what_these_tests_do_to_an_index(tiny_dataset: Path, tmp_path: Path) -> None:
    same = relabelled(tiny_dataset, tmp_path / "same", lambda table: table)
    index = read_index(same)
    assert index.table.schema.names == schema_for(index.spec, index.shards).names
