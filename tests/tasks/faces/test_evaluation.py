import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from components.evaluate.__main__ import main
from components.evaluate.evaluate import evaluate
from core.errors import BadInputError, MismatchError, SettingsError
from data.index import INDEX_FILE, SPEC_FILE, read_index, write_index
from judging.guard import SplitLeakError

Make = Callable[..., Path]
BASE = {"max_authentic_fpr": 0.4, "bootstrap": {"resamples": 30}, "degradations": [], "heatmaps": 0, "gallery": 2}


def recipe(**changes: Any) -> dict[str, Any]:
    return BASE | changes


@pytest.fixture(scope="module")
def stages(make_face_model: Make) -> dict[str, list[Path]]:
    return {
        "first": [make_face_model("spotter", "first", 1), make_face_model("genconvit", "first", 2)],
        "second": [make_face_model("spotter", "second", 3), make_face_model("genconvit", "second", 4)],
    }


@pytest.fixture(scope="module")
def elsewhere(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another data set, all of it for testing: the train split of ``tiny_faces`` under another name."""
    folder = tmp_path_factory.mktemp("elsewhere") / "index"
    index = read_index(tiny_faces).where(split="train")
    table = index.table
    for name, value in (("dataset", "elsewhere"), ("split", "test"), ("compression", "c23")):
        column = pa.array([value] * len(table), pa.string())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    write_index(folder, table, index.spec, index.shards)
    lines = [{"name": f"{n}.mp4", "reason": reason, "detail": ""} for n, reason in enumerate(["no-face"] * 3 + ["x"])]
    (folder / "rejected.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def evaluated(
    tiny_faces: Path, elsewhere: Path, stages: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate([tiny_faces, elsewhere], stages, folder, recipe(degradations=["jpeg50"], heatmaps=4))
    return folder


@pytest.fixture(scope="module")
def metrics(evaluated: Path) -> dict[str, Any]:
    return json.loads((evaluated / "metrics.json").read_text())


@pytest.fixture(scope="module")
def table(evaluated: Path) -> pa.Table:
    return pq.read_table(evaluated / "per_medium.parquet")


def rows(table: pa.Table, **equal: str) -> pa.Table:
    for name, value in equal.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def test_figures_of_media_are_those_of_the_table(metrics: dict[str, Any], table: pa.Table) -> None:
    assert list(metrics["datasets"]) == ["skimage", "elsewhere"]
    for group in ("first", "second"):
        for model in ("ensemble", "spotter", "genconvit"):
            one = metrics["groups"][group]
            part = one["ensemble"] if model == "ensemble" else one["members"][model]
            for dataset, figures in part["datasets"].items():
                found = rows(table, model_group=group, model=model, dataset=dataset)
                label, score = np.array(found["label"]), np.array(found["score"])
                called = np.array(found["called_manipulated"])
                assert figures["video"]["auc"] == pytest.approx(roc_auc_score(label, score))
                assert figures["video"]["authentic_fpr"] == pytest.approx(called[label == 0].mean())
                assert figures["video"]["recall_forged"] == pytest.approx(called[label == 1].mean())
                assert np.array_equal(called, score >= part["operating_point"]["threshold"])


def test_media_and_frames_are_counted_and_media_without_faces_by_themselves(metrics: dict[str, Any]) -> None:
    assert metrics["datasets"]["elsewhere"]["no_face"] == 3
    assert metrics["datasets"]["elsewhere"]["left_out"] == {"x": 1}
    main = metrics["datasets"]["skimage"]
    figures = metrics["groups"]["first"]["ensemble"]["datasets"]["skimage"]
    assert main["media"] == sum(figures["video"]["counts"].values())
    assert main["faces"] == sum(figures["frame"]["counts"].values()) == 3 * main["media"]


def test_members_are_calibrated_and_weighed_on_val(metrics: dict[str, Any]) -> None:
    for group in metrics["groups"].values():
        assert sum(group["weights"].values()) == pytest.approx(1)
        assert any(temperature != 1 for temperature in group["temperatures"].values())
        assert group["operating_point"]["val"]["authentic_fpr"] <= 0.4


def test_what_clips_are_worth_is_given_for_networks_that_have_them(metrics: dict[str, Any]) -> None:
    members = metrics["groups"]["first"]["members"]
    found = members["spotter"]["datasets"]["elsewhere"]["clips"]
    assert found["difference"] == pytest.approx(found["clips"] - found["frames"])
    assert found["clips"] == pytest.approx(members["spotter"]["datasets"]["elsewhere"]["video"]["auc"])
    assert members["genconvit"]["datasets"]["elsewhere"]["clips"] is None


def test_what_a_stage_forgot_is_measured_against_the_best_before(metrics: dict[str, Any]) -> None:
    entries = {(entry["group"], entry["dataset"]): entry for entry in metrics["forgetting"]}
    assert len(entries) == 4
    for dataset in ("skimage", "elsewhere"):
        before, after = entries["first", dataset], entries["second", dataset]
        assert before["drop"] is None
        assert after["best_earlier"] == "first"
        assert after["drop"] == pytest.approx(before["auc"] - after["auc"])
        video = metrics["groups"]["second"]["ensemble"]["datasets"][dataset]["video"]
        assert after["auc"] == pytest.approx(video["auc"])


def test_strata_robustness_and_heatmaps_are_there(metrics: dict[str, Any]) -> None:
    found = metrics["groups"]["second"]["ensemble"]["datasets"]
    assert list(found["elsewhere"]["compressions"]) == ["c23"]
    assert found["elsewhere"]["compressions"]["c23"]["auc"] == found["elsewhere"]["video"]["auc"]
    assert all(one["counts"]["authentic"] for one in found["skimage"]["methods"].values())
    assert metrics["groups"]["second"]["robustness"]["jpeg50"]["video"]["auc"] is not None
    assert set(metrics["heatmaps"]) == {"spotter"}
    assert {"all", "detected", "small"} <= set(next(iter(metrics["heatmaps"]["spotter"]["maps"].values())))


def test_the_report_shows_it_all(evaluated: Path) -> None:
    report = (evaluated / "report.html").read_text()
    for title in (
        "Data set skimage", "Data set elsewhere", "Curves on elsewhere", "Stages, and what they forgot",
        "What looking at clips is worth", "Robustness", "Heatmaps of spotter", "elsewhere by compression",
    ):  # fmt: skip
        assert f"{title}</h2>" in report


def test_thresholds_and_calibration_do_not_depend_on_test(
    tiny_faces: Path, stages: dict[str, list[Path]], metrics: dict[str, Any], tmp_path: Path
) -> None:
    index = read_index(tiny_faces)
    first = next(iter(index.where(split="test").rows()))
    keep = pc.or_(pc.not_equal(index.table["split"], "test"), pc.equal(index.table["media_id"], first["media_id"]))
    write_index(tmp_path / "one", index.table.filter(keep), index.spec, index.shards)
    evaluate(tmp_path / "one", stages, tmp_path / "out", recipe())
    fewer = json.loads((tmp_path / "out/metrics.json").read_text())["groups"]
    for name, group in metrics["groups"].items():
        for key in ("operating_point", "weights", "temperatures"):
            assert fewer[name][key] == group[key]
    lone = fewer["second"]["ensemble"]["datasets"]["skimage"]["video"]
    assert lone["auc"] is None
    assert "no " in lone["undefined"]["auc"]


def test_one_data_set_chooses_and_another_is_measured_on(
    tiny_faces: Path, elsewhere: Path, stages: dict[str, list[Path]], metrics: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="has no val pictures"):
        evaluate(elsewhere, stages, tmp_path, recipe())
    evaluate(elsewhere, {"first": stages["first"]}, tmp_path, recipe(), fit_dataset=tiny_faces)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["main_dataset"] == "elsewhere"
    assert found["groups"]["first"]["operating_point"] == metrics["groups"]["first"]["operating_point"]


def test_what_cannot_be_evaluated_is_refused(
    tiny_faces: Path, tiny_dataset: Path, stages: dict[str, list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="second data set called 'skimage'"):
        evaluate([tiny_faces, tiny_faces], stages, tmp_path, recipe())
    with pytest.raises(MismatchError, match="cannot read the index"):
        evaluate(tiny_dataset, stages, tmp_path, recipe())
    with pytest.raises(SettingsError, match="no model to evaluate"):
        evaluate(tiny_faces, {"first": []}, tmp_path, recipe())
    leaking = tmp_path / "leaking"
    shutil.copytree(tiny_faces, leaking)
    index = read_index(leaking)
    split = pc.if_else(pc.equal(index.table["split"], "val"), "test", index.table["split"])
    changed = index.table.set_column(index.table.schema.get_field_index("split"), "split", split)
    write_index(leaking, changed, index.spec, index.shards)
    assert {(leaking / name).is_file() for name in (INDEX_FILE, SPEC_FILE)} == {True}
    with pytest.raises(SplitLeakError, match="are in"):
        evaluate(leaking, stages, tmp_path / "out", recipe(), fit_dataset=tiny_faces)


def test_the_command_line_takes_several_data_sets(
    tiny_faces: Path,
    elsewhere: Path,
    stages: dict[str, list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(BASE))
    arguments = [f"--dataset={path}" for path in (tiny_faces, elsewhere)]
    arguments += [f"--model=first={stages['first'][1]}", f"--output={tmp_path / 'out'}"]
    assert main([*arguments, f"--recipe={tmp_path / 'recipe.json'}"]) == 0
    assert "pictures or media evaluated, 0 pictures could not be read\nfirst: auc " in capsys.readouterr().out
