import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bundle.regions.verdict import OperatingPoint, decide
from components.evaluate.__main__ import main
from components.evaluate.evaluate import evaluate
from core.errors import BadInputError, MismatchError, SettingsError
from data.index import SampleIndex, read_index, write_index
from data.shards import ShardReader
from judging.guard import SplitLeakError
from media.degrade import DEGRADATIONS, degradation
from tasks.regions.loading import load_member
from tasks.regions.prediction import predict_pictures
from tasks.regions.settings import RegionsEvaluate

FIT = {"max_authentic_fpr": 0.4, "min_areas": [0.0, 0.02], "calibrate": False, "fit_weights": False}
BASE = FIT | {"bootstrap": {"resamples": 50}, "degradations": []}
MAIN = "skimage"


def _recipe(**changes: Any) -> dict[str, Any]:
    return BASE | changes


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def evaluated(tiny_dataset, models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate(tiny_dataset, models, folder, _recipe(degradations=["jpeg50", "noise"]))
    return folder


def _ensemble(group: dict[str, Any], dataset: str = MAIN) -> dict[str, Any]:
    return group["ensemble"]["datasets"][dataset]


def _maps(index: SampleIndex, paths: list[Path], degrade: Callable | None = None) -> list[tuple[dict, Any, Any]]:
    """Return (row, mask, mean map) of each picture, by each model alone."""
    reader = ShardReader(index.shards)
    runs = [
        list(predict_pictures([load_member(p, "cpu")], index, reader, device="cpu", degrade=degrade)) for p in paths
    ]
    return [
        (ones[0].row, ones[0].mask, np.mean([next(iter(one.probabilities.values())) for one in ones], axis=0))
        for ones in zip(*runs, strict=True)
    ]


def _direct(maps: list[tuple[dict, Any, Any]], point: OperatingPoint) -> dict[str, float]:
    """Work out F1, IoU and false positives from the maps themselves."""
    f1, iou, called, marked = [], [], [], []
    for row, truth, probability in maps:
        verdict = decide(probability, point)
        found = verdict.mask & verdict.forged
        if row["label"]:
            f1.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
            iou.append((found & truth).sum() / (found | truth).sum())
        else:
            called.append(verdict.forged)
            marked.append(found.mean())
    means = map(np.mean, (f1, iou, called, marked))
    return dict(zip(("f1", "iou", "authentic_fpr", "authentic_fp_fraction"), map(float, means), strict=True))


def _point(figures: dict[str, Any]) -> OperatingPoint:
    return OperatingPoint(threshold=figures["threshold"], min_area_fraction=figures["min_area_fraction"])


def test_figures_of_ensembles_and_members_equal_those_worked_out_from_the_maps(tiny_dataset, models, evaluated):
    test = read_index(tiny_dataset).where(split="test")
    groups = _read(evaluated)["groups"]
    assert {name: sorted(group["members"]) for name, group in groups.items()} == {"v3": ["a", "b"], "v4": ["a", "c"]}
    for name, group in groups.items():
        expected = _direct(_maps(test, models[name]), _point(group["operating_point"]))
        assert {key: _ensemble(group)[key] for key in expected} == pytest.approx(expected, abs=1e-6)
        member = group["members"]["a"]
        expected = _direct(_maps(test, models[name][:1]), _point(member["operating_point"]))
        assert {key: member["datasets"][MAIN][key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_operating_points_meet_the_ceiling_on_val_and_do_not_depend_on_test(tiny_dataset, models, evaluated, tmp_path):
    index = read_index(tiny_dataset)
    groups = _read(evaluated)["groups"]
    for name, group in groups.items():
        point = group["operating_point"]
        on_val = _direct(_maps(index.where(split="val"), models[name]), _point(point))
        assert point["val"]["f1"] == pytest.approx(on_val["f1"], abs=1e-6)
        assert point["val"]["authentic_fpr"] == on_val["authentic_fpr"]
        assert point["meets_ceiling"] == (on_val["authentic_fpr"] <= 0.4)
    first = index.where(split="test").column("sample_id")[0]
    keep = pc.or_(pc.not_equal(index.table["split"], "test"), pc.equal(index.table["sample_id"], first))
    write_index(tmp_path / "one", index.table.filter(keep), index.spec, index.shards)
    evaluate(tmp_path / "one", models, tmp_path / "out", _recipe())
    fewer = _read(tmp_path / "out")["groups"]
    assert {n: g["operating_point"] for n, g in fewer.items()} == {n: g["operating_point"] for n, g in groups.items()}


def test_robustness_is_measured_on_degraded_pictures_at_the_same_point(tiny_dataset, models, evaluated):
    test = read_index(tiny_dataset).where(split="test")
    group = _read(evaluated)["groups"]["v4"]
    assert list(group["robustness"]) == ["jpeg50", "noise"]
    for name, figures in group["robustness"].items():
        maps = _maps(test, models["v4"], degradation(name))
        expected = _direct(maps, _point(group["operating_point"]))
        assert {key: figures[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_the_table_has_a_row_for_each_picture_and_model_and_agrees_with_the_figures(evaluated):
    table = pq.read_table(evaluated / "per_image.parquet")
    groups = _read(evaluated)["groups"]
    assert table.num_rows == 6 * 6  # pictures × (two groups of two members and an ensemble)
    for name, group in groups.items():
        rows = table.filter(pc.and_(pc.equal(table["model_group"], name), pc.equal(table["model"], "ensemble")))
        assert rows["f1"].null_count == rows["iou"].null_count == 3  # the authentic ones
        assert pc.mean(rows["f1"]).as_py() == pytest.approx(_ensemble(group)["f1"])
        assert rows["called_forged"].to_pylist() == pc.greater_equal(rows["score"], rows["threshold"]).to_pylist()
        authentic = rows.filter(pc.equal(rows["label"], 0))
        marked = pc.mean(authentic["marked_fraction"]).as_py()
        assert marked == pytest.approx(_ensemble(group)["authentic_fp_fraction"])


def test_later_groups_are_compared_with_the_first_where_they_share_members(evaluated):
    metrics = _read(evaluated)
    (comparison,) = metrics["comparisons"]
    assert (comparison["first"], comparison["second"]) == ("v3", "v4")
    assert list(comparison["members"]) == ["a"]
    first, second = (_ensemble(metrics["groups"][name])["authentic_fpr"] for name in ("v3", "v4"))
    assert comparison["ensemble"]["authentic_fpr"]["difference"] == pytest.approx(second - first)
    equal = comparison["equal_recall"]
    assert [(one["kind"], one["own_recall_of"]) for one in equal if one["own_recall_of"]] == [
        ("image", "v3"),
        ("pixel", "v3"),
    ]
    assert len(equal) == 2 * (1 + 3)
    for one in equal:
        if one["differences"] is not None:
            assert all(model["val_recall"] >= one["recall"] - 1e-9 for model in one["models"].values())


ON_EACH = [
    f"{title} on {MAIN}"
    for title in ("Ensembles", "Members", "v4 against v3", "Curves", "Forged area", "Method", "Best", "Worst")
]


def test_the_report_holds_tables_curves_and_overlays_and_loads_nothing(evaluated):
    page = (evaluated / "report.html").read_text()
    for heading in ("What was judged", "Robustness", *ON_EACH):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("data:image/png") == 2 + 3 + 2  # val by group; ROC, PR, calibration; robustness
    assert "data:image/jpeg" in page
    assert "oracle" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_two_evaluations_are_the_same_bytes(tiny_dataset, models, tmp_path):
    for name in ("one", "two"):
        evaluate(tiny_dataset, {"v3": models["v3"]}, tmp_path / name, _recipe())
    for file in ("metrics.json", "per_image.parquet", "report.html", "rejected.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_a_single_member_is_its_own_ensemble(tiny_dataset, models, tmp_path):
    summary = evaluate(tiny_dataset, {"v3": models["v3"][:1]}, tmp_path, _recipe())
    group = _read(tmp_path)["groups"]["v3"]
    assert group["ensemble"] == group["members"]["a"]
    assert _read(tmp_path)["comparisons"] == []
    assert summary.groups["v3"]["f1"] == _ensemble(group)["f1"]
    assert (summary.evaluated, summary.rejected) == (6, 0)


def _only_test(index: SampleIndex, folder: Path, keep: Any, **columns: list[Any]) -> Path:
    table = index.table.filter(keep)
    for name, values in ({"split": ["test"] * table.num_rows} | columns).items():
        field = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), field, [values])
    write_index(folder, table, index.spec, index.shards)
    return folder


def test_an_external_test_set_is_judged_at_points_of_the_fit_data_set(tiny_dataset, models, evaluated, tmp_path):
    index = read_index(tiny_dataset)
    authentic = pc.and_(pc.equal(index.table["split"], "train"), pc.equal(index.table["label"], 0))
    external = _only_test(index, tmp_path / "external", authentic)
    with pytest.raises(BadInputError, match="no val pictures"):
        evaluate(external, models, tmp_path / "out", _recipe())
    evaluate(external, models, tmp_path / "out", _recipe(), fit_dataset=tiny_dataset)
    metrics = _read(tmp_path / "out")
    group = metrics["groups"]["v3"]
    assert group["operating_point"] == _read(evaluated)["groups"]["v3"]["operating_point"]
    figures = _ensemble(group)
    assert figures["f1"] is None
    assert figures["undefined"]["f1"] == "no pictures with a forged region"
    assert figures["image"]["auc"] is None
    assert figures["counts"] == {"authentic": 6, "forged": 0}
    assert "no ROC" in (tmp_path / "out" / "report.html").read_text()


def test_test_pictures_that_chose_the_point_are_refused(tiny_dataset, models, tmp_path):
    index = read_index(tiny_dataset)
    external = _only_test(index, tmp_path / "external", pc.equal(index.table["split"], "val"))
    with pytest.raises(SplitLeakError, match="6 pictures of"):
        evaluate(external, models, tmp_path / "out", _recipe(), fit_dataset=tiny_dataset)


def test_a_data_set_without_test_pictures_is_an_error(tiny_dataset, models, tmp_path):
    index = read_index(tiny_dataset)
    write_index(tmp_path / "x", index.where(split="val").table, index.spec, index.shards)
    with pytest.raises(BadInputError, match="no test pictures"):
        evaluate(tmp_path / "x", models, tmp_path / "out", _recipe())


def test_unreadable_pictures_are_listed_and_left_out(tiny_dataset, models, tmp_path):
    index = read_index(tiny_dataset)
    sizes = index.column("size").copy()
    victim = int(np.flatnonzero(index.column("split") == "test")[2])
    sizes[victim] = 30
    table = index.table.set_column(index.table.column_names.index("size"), "size", [sizes])
    write_index(tmp_path / "broken", table, index.spec, index.shards)
    summary = evaluate(tmp_path / "broken", {"v3": models["v3"]}, tmp_path / "out", _recipe(degradations=["blur"]))
    assert (summary.evaluated, summary.rejected) == (5, 1)
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == index.column("media_id")[victim]
    assert _read(tmp_path / "out")["rejected"] == 1


def test_a_data_set_that_does_not_show_what_a_model_reads_is_refused(tiny_faces, models, tmp_path):
    with pytest.raises(MismatchError, match="model a cannot read the index: the view tiles is of whole pictures"):
        evaluate(tiny_faces, models, tmp_path, _recipe())


def test_models_must_be_there_once(tiny_dataset, models, tmp_path):
    with pytest.raises(SettingsError, match="two models called a"):
        evaluate(tiny_dataset, {"v3": [models["v3"][0], models["v4"][0]]}, tmp_path, _recipe())
    with pytest.raises(SettingsError, match="no model to evaluate"):
        evaluate(tiny_dataset, {"v3": []}, tmp_path, _recipe())


def test_the_recipe_is_one_of_the_models_task(tiny_dataset, models, tmp_path):
    with pytest.raises(SettingsError, match=r"degradations.*Did you mean 'jpeg50'"):
        evaluate(tiny_dataset, models, tmp_path, _recipe(degradations=["jpeg5"]))
    with pytest.raises(SettingsError, match=r"heatmaps = 3: unknown key; allowed: .*min_areas"):
        evaluate(tiny_dataset, models, tmp_path, _recipe(heatmaps=3))
    assert RegionsEvaluate().degradations == DEGRADATIONS


def test_the_command_line_evaluates_and_explains_errors(tiny_dataset, models, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text(json.dumps(BASE))
    arguments = ["--dataset", str(tiny_dataset), "--output", str(tmp_path / "out"), "--recipe"]
    arguments += [str(tmp_path / "recipe.json"), "--model"]
    assert main([*arguments, f"v3={models['v3'][0]}"]) == 0
    assert "6 pictures or media evaluated, 0 pictures could not be read\nv3: f1 " in capsys.readouterr().out
    assert main([*arguments, str(models["v3"][0])]) == 1
    assert "expected GROUP=PATH" in capsys.readouterr().err
