import json
from pathlib import Path

import numpy as np
import pytest

from components.sweep_hard_negatives.__main__ import main
from components.sweep_hard_negatives.sweep import sweep_hard_negatives
from components.train.hard_negatives import read_hard_negatives
from core.errors import BadInputError, MismatchError, SettingsError
from data.index import read_index, write_index
from data.shards import ShardReader
from tasks.regions.loading import load_member
from tasks.regions.prediction import predict_pictures

ALL = {"mining_threshold": 0.001, "mining_min_area_fraction": 0.0}  # every authentic picture is then a hard negative


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_hard_negatives_are_authentic_train_pictures_ranked_by_area_times_confidence(
    tiny_dataset, tiny_model, tmp_path
):
    index = read_index(tiny_dataset)
    member = load_member(tiny_model, "cpu")
    train = index.where(split="train", label=0)
    maps = {
        one.row["sample_id"]: one.probabilities["tiny"]
        for one in predict_pictures([member], train, ShardReader(index.shards), device="cpu")
    }
    threshold = float(np.median([p.max() for p in maps.values()]))  # half of the pictures reach it
    recipe = {"mining_threshold": threshold, "mining_min_area_fraction": 0.0}
    summary = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, recipe)
    hardness = {
        name: (p >= threshold).mean() * p[p >= threshold].mean() for name, p in maps.items() if p.max() >= threshold
    }
    expected = sorted(hardness, key=lambda name: -hardness[name])
    assert 0 < len(expected) < len(train)
    assert _lines(tmp_path / "hard_negatives.txt") == expected
    assert summary.hard_negatives == summary.found == len(expected)
    assert summary.searched == len(train)
    ranking = [json.loads(line) for line in _lines(tmp_path / "ranking.jsonl")]
    assert [one["hardness"] for one in ranking] == pytest.approx([hardness[name] for name in expected])


def test_the_output_is_an_index_that_the_training_step_accepts(tiny_dataset, tiny_model, tmp_path):
    sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, ALL)
    index, found = read_index(tiny_dataset), read_index(tmp_path)
    assert found.table.schema.equals(index.table.schema)
    assert (found.shards, found.spec) == (index.shards, index.spec)
    assert set(found.column("split")) == {"train"}
    assert set(found.column("label")) == {0}
    train = index.where(split="train")
    rows = {row["sample_id"]: row for row in train.rows()}
    assert all(row == rows[row["sample_id"]] for row in found.rows())
    assert read_hard_negatives(tmp_path, train) == read_hard_negatives(tmp_path / "hard_negatives.txt", train)
    assert len(read_hard_negatives(tmp_path, train)) == 6


def test_curves_and_the_point_chosen_on_val_are_written(tiny_dataset, tiny_model, tmp_path):
    recipe = {"max_authentic_fpr": 0.4, "min_areas": [0.0, 0.01]}
    summary = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, recipe)
    point = json.loads((tmp_path / "operating_point.json").read_text())
    curves = json.loads((tmp_path / "curves.json").read_text())["curves"]
    assert [curve["min_area_fraction"] for curve in curves] == [0.0, 0.01]
    assert point["threshold"] == summary.decision.threshold
    chosen = next(c for c in curves if c["min_area_fraction"] == point["min_area_fraction"])
    k = chosen["threshold"].index(round(point["threshold"], 6))
    assert chosen["f1"][k] == pytest.approx(point["val"]["f1"], abs=1e-6)
    assert chosen["authentic_fpr"][k] == pytest.approx(point["val"]["authentic_fpr"], abs=1e-6)
    assert point["meets_ceiling"] == (point["val"]["authentic_fpr"] <= 0.4)


def test_no_hard_negatives_is_an_outcome_that_is_stated(tiny_dataset, tiny_model, tmp_path):
    summary = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, {"mining_threshold": 1.0})
    assert summary.hard_negatives == 0
    assert (tmp_path / "hard_negatives.txt").read_text() == ""
    assert len(read_index(tmp_path)) == 0
    assert "No hard negatives: none of 6 was marked." in (tmp_path / "report.html").read_text()
    train = read_index(tiny_dataset).where(split="train")
    assert read_hard_negatives(tmp_path, train) == frozenset()
    assert read_hard_negatives(tmp_path / "hard_negatives.txt", train) == frozenset()


def test_the_limit_keeps_the_hardest(tiny_dataset, tiny_model, tmp_path):
    sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "all", ALL)
    summary = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "two", ALL | {"limit": 2})
    assert (summary.hard_negatives, summary.found) == (2, 6)
    assert _lines(tmp_path / "two" / "hard_negatives.txt") == _lines(tmp_path / "all" / "hard_negatives.txt")[:2]
    assert "the hardest 2 were kept" in (tmp_path / "two" / "report.html").read_text()


def test_as_many_as_are_wanted_are_found_whatever_the_operating_point(tiny_dataset, tiny_model, tmp_path):
    sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "all", ALL)
    summary = sweep_hard_negatives(
        tiny_dataset, tiny_model, tmp_path / "some", {"mining_count": 0.5, "min_areas": [0.0]}
    )
    assert (summary.hard_negatives, summary.searched) == (3, 6)
    kept = _lines(tmp_path / "some" / "hard_negatives.txt")
    assert set(kept) < set(_lines(tmp_path / "all" / "hard_negatives.txt"))
    mining = json.loads((tmp_path / "some" / "mining.json").read_text())
    assert (mining["asked"], mining["searched"], mining["kept"]) == (3, 6, 3)
    assert mining["found"] >= 3
    assert f"{mining['threshold']:.3f}" in (tmp_path / "some" / "report.html").read_text()
    index = read_index(tiny_dataset)
    rows = index.where(split="train", label=0)
    reader, member = ShardReader(index.shards), load_member(tiny_model, "cpu")
    tops = {
        one.row["sample_id"]: one.probabilities["tiny"].max()
        for one in predict_pictures([member], rows, reader, device="cpu")
    }
    assert {name for name, top in tops.items() if top >= mining["threshold"]} >= set(kept)


def test_fewer_than_wanted_are_stated(tiny_dataset, tiny_model, tmp_path):
    summary = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, {"mining_count": 300, "min_areas": [0.0]})
    assert summary.hard_negatives == 6
    assert "6 of the 300 wanted" in (tmp_path / "report.html").read_text()
    assert "6 of the 300 wanted" in json.loads((tmp_path / "mining.json").read_text())["note"]


def test_the_gallery_shows_the_hardest_and_no_more_than_asked(tiny_dataset, tiny_model, tmp_path):
    sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, ALL | {"gallery": 3})
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 3
    hardest = json.loads(_lines(tmp_path / "ranking.jsonl")[0])
    assert page.index(f"<figcaption>{hardest['media_id']}") < page.index("</figcaption>", page.index("data:image/jpeg"))


def test_pictures_that_cannot_be_read_are_listed_and_the_rest_goes_on(tiny_dataset, tiny_model, tmp_path):
    index = read_index(tiny_dataset)
    sizes = index.column("size").copy()
    victim = int(np.flatnonzero((index.column("split") == "train") & (index.column("label") == 0))[0])
    sizes[victim] = 30
    table = index.table.set_column(index.table.column_names.index("size"), "size", [sizes])
    write_index(tmp_path / "broken", table, index.spec, index.shards)
    summary = sweep_hard_negatives(tmp_path / "broken", tiny_model, tmp_path / "out", ALL)
    assert (summary.searched, summary.rejected, summary.hard_negatives) == (5, 1, 5)
    (line,) = _lines(tmp_path / "out" / "rejected.jsonl")
    assert json.loads(line)["name"] == index.column("media_id")[victim]
    assert json.loads(line)["reason"]


def test_a_train_split_without_authentic_pictures_is_an_error(tiny_dataset, tiny_model, tmp_path):
    index = read_index(tiny_dataset)
    keep = ~((index.column("split") == "train") & (index.column("label") == 0))
    write_index(tmp_path / "none", index.table.filter(keep), index.spec, index.shards)
    with pytest.raises(BadInputError, match="no authentic pictures in train"):
        sweep_hard_negatives(tmp_path / "none", tiny_model, tmp_path / "out", {})


def test_a_data_set_that_does_not_show_what_a_model_reads_is_refused(tiny_faces, tiny_model, tmp_path):
    with pytest.raises(MismatchError, match="model tiny cannot read the index"):
        sweep_hard_negatives(tiny_faces, tiny_model, tmp_path / "out", {})


def test_a_task_without_a_sweep_is_named(tiny_faces, make_face_model, tmp_path):
    with pytest.raises(SettingsError, match="is of task faces, which has no sweep"):
        sweep_hard_negatives(tiny_faces, make_face_model("genconvit"), tmp_path, {})


def test_an_unknown_key_is_named(tiny_dataset, tiny_model, tmp_path):
    with pytest.raises(SettingsError, match=r"minning_threshold = 1: unknown key; allowed: .*mining_threshold"):
        sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, {"minning_threshold": 1})


def test_the_command_line_sweeps_and_explains_errors(tiny_dataset, tiny_model, tmp_path, capsys):
    arguments = ["--dataset", str(tiny_dataset), "--output", str(tmp_path / "out")]
    (tmp_path / "recipe.yaml").write_text("mining_threshold: 0.001\nmining_min_area_fraction: 0\n")
    assert main([*arguments, "--model", str(tiny_model), "--recipe", str(tmp_path / "recipe.yaml")]) == 0
    assert "6 hard negatives among 6 authentic train samples" in capsys.readouterr().out
    assert main([*arguments, "--model", str(tmp_path)]) == 1
    assert "is no model" in capsys.readouterr().err


SHARED = {**ALL, "parts": 3, "gallery": 3}
FILES = ("hard_negatives.txt", "ranking.jsonl", "mining.json", "operating_point.json", "curves.json", "rejected.jsonl")


@pytest.mark.parametrize("count", [None, 3])
def test_parts_done_anywhere_give_the_list_of_one_process(tiny_dataset, tiny_model, tmp_path, count):
    recipe = SHARED if count is None else {"mining_count": count, "parts": 3}
    store = str(tmp_path / "store")
    alone = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "alone", {**recipe, "parts": 1})
    for part in (2, 0):  # the join does the one that is missing
        output = tmp_path / f"part-{part}"
        assert sweep_hard_negatives(tiny_dataset, tiny_model, output, recipe, store=store, part=part) is None
        assert not output.exists()
    joined = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "joined", recipe, store=store)
    assert joined == alone
    assert joined.hard_negatives > 1
    for name in FILES:
        assert (tmp_path / "joined" / name).read_text() == (tmp_path / "alone" / name).read_text()
    assert read_index(tmp_path / "joined").table.equals(read_index(tmp_path / "alone").table)


def test_finished_parts_are_not_searched_again_and_other_settings_are_other_parts(
    tiny_dataset, tiny_model, tmp_path, monkeypatch
):
    store = str(tmp_path / "store")
    first = sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "first", SHARED, store=store)
    searched = []

    def counted(members, index, *arguments, **options):
        searched.append(len(index))
        return predict_pictures(members, index, *arguments, **options)

    monkeypatch.setattr("tasks.regions.sweep_parts.predict_pictures", counted)
    assert sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "again", SHARED, store=store) == first
    assert searched == [first.found]  # the pass over those that reach the threshold alone
    sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path / "other", {**SHARED, "parts": 2}, store=store)
    assert len(searched) == 1 + 2 * 2 + 1


@pytest.mark.parametrize(("part", "store"), [(3, "store"), (-1, "store"), (0, "")])
def test_a_part_that_there_is_not_or_that_has_no_store_is_refused(tiny_dataset, tiny_model, tmp_path, part, store):
    with pytest.raises(SettingsError, match=f"part {part} of 3"):
        sweep_hard_negatives(tiny_dataset, tiny_model, tmp_path, SHARED, store=store and str(tmp_path), part=part)
