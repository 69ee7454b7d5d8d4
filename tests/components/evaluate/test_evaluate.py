"""A bundle is judged as it is served, beside models that are fitted as an export fits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bundle import BUNDLE_FILE, Bundle, open_networks, read_bundle
from bundle.faces.analysis import analyze_faces
from bundle.regions.analysis import analyze_picture
from components.evaluate.bundles import unsuitable
from components.evaluate.evaluate import evaluate
from components.publish.publish import publish
from components.publish.recipe import PublishRecipe
from core.errors import MismatchError, SettingsError
from core.files import write_bytes
from core.storage import open_store
from data.index import SampleIndex, read_index, write_index
from data.shards import ShardReader
from data.stored import load_sample
from tests.region_models import FIT

Models = dict[str, list[Path]]
RECIPE = FIT | {"bootstrap": {"resamples": 20}, "degradations": ["noise"], "gallery": 1}
FACES = {"max_authentic_fpr": 0.4, "bootstrap": {"resamples": 20}, "degradations": [], "gallery": 1}
OPEN_GATE = PublishRecipe(
    gate={"min_f1": None, "max_authentic_fpr": None, "robustness_floor": None, "margin": 0.0}, on_refusal="record"
)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def table(path: Path, **equal: str) -> pa.Table:
    found = pq.read_table(path)
    for name, value in equal.items():
        found = found.filter(pc.equal(found[name], value))
    return found


def loaded(dataset: Path) -> list[tuple[dict[str, Any], Any]]:
    index = read_index(dataset).where(split="test")
    reader = ShardReader(index.shards)
    return [(row, load_sample(row, reader)) for row in index.rows()]


@pytest.fixture(scope="module")
def evaluated(
    tiny_dataset: Path, models: Models, bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle of v4 beside the trained models of both stages."""
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate(tiny_dataset, models, folder, RECIPE, bundle=bundles["v4"])
    return folder


def test_pictures_get_the_verdicts_that_the_bundle_gives_when_it_is_served(
    evaluated: Path, tiny_dataset: Path, bundles: dict[str, Path]
) -> None:
    bundle = read_bundle(bundles["v4"])
    networks = open_networks(bundle, "onnx")
    rows = {
        model: {row["sample_id"]: row for row in table(evaluated / "per_image.parquet", **found).to_pylist()}
        for model in ("ensemble", "a", "c")
        for found in [{"model_group": "bundle", "model": model}]
    }
    for row, sample in loaded(tiny_dataset):
        served = analyze_picture(sample.rgb, bundle.document, networks)
        found = rows["ensemble"][row["sample_id"]]
        assert found["score"] == pytest.approx(served.verdict.score, abs=1e-5)
        assert found["called_forged"] == served.verdict.forged
        assert found["marked_fraction"] == pytest.approx(served.verdict.forged_fraction, abs=1e-3)
        for opinion in served.members:
            own = rows[opinion.name][row["sample_id"]]
            assert own["score"] == pytest.approx(opinion.score, abs=1e-5)
            assert own["called_forged"] == opinion.forged


def test_nothing_is_chosen_for_the_bundle(
    evaluated: Path, tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    """A bundle with weights, temperatures and decisions that no fit gives is judged with just these."""
    shutil.copytree(bundles["v4"], tmp_path / "bundle")
    document = read_bundle(bundles["v4"]).document
    content = document.model_dump(mode="json")
    point = {"threshold": 0.25, "min_area_fraction": 0.125}
    content["decision"] = point
    for member, weight, temperature in zip(content["members"], (0.25, 0.75), (0.5, 3.0), strict=True):
        member |= {"weight": weight, "temperature": temperature, "decision": point}
    write_bytes(tmp_path / "bundle" / BUNDLE_FILE, Bundle.model_validate(content).to_document())
    evaluate(tiny_dataset, {}, tmp_path / "out", RECIPE, bundle=tmp_path / "bundle")
    group = read(tmp_path / "out")["groups"]["bundle"]
    assert group["weights"] == {"a": 0.25, "c": 0.75}
    assert group["temperatures"] == {"a": 0.5, "c": 3.0}
    assert {name: group["operating_point"][name] for name in point} == point
    for member in group["members"].values():
        assert {name: member["operating_point"][name] for name in point} == point
    assert read(evaluated)["groups"]["bundle"]["operating_point"] != group["operating_point"]


def test_earlier_stages_are_fitted_as_an_export_fits_them(evaluated: Path) -> None:
    """The trained models of v4 and the bundle that was made of them have the same fit and the same figures."""
    groups = read(evaluated)["groups"]
    trained, bundle = groups["v4"], groups["bundle"]
    assert any(temperature != 1 for temperature in bundle["temperatures"].values())
    assert trained["temperatures"] == bundle["temperatures"]
    assert trained["weights"] == bundle["weights"]
    for name in ("threshold", "min_area_fraction"):
        assert trained["operating_point"][name] == bundle["operating_point"][name]
    for name in ("f1", "authentic_fpr"):
        one, other = (group["ensemble"]["datasets"]["skimage"][name] for group in (trained, bundle))
        assert one == pytest.approx(other, abs=1e-3)


def test_the_metrics_say_which_bundle_was_judged_and_the_last_group_is_compared_with_all_others(
    evaluated: Path, bundles: dict[str, Path]
) -> None:
    metrics = read(evaluated)
    assert metrics["bundle"]["sha256"] == read_bundle(bundles["v4"]).sha256
    assert metrics["bundle"]["runtime"] == "onnx"
    assert list(metrics["groups"]) == ["v3", "v4", "bundle"]
    assert [(one["first"], one["second"]) for one in metrics["comparisons"]] == [("v3", "bundle"), ("v4", "bundle")]


def test_figures_for_the_card_are_those_of_the_bundle_and_of_each_member(evaluated: Path) -> None:
    text = (evaluated / "figures.md").read_text()
    metrics = read(evaluated)
    group = metrics["groups"]["bundle"]
    parts = [group["ensemble"], group["members"]["a"], group["members"]["c"]]
    values = [f"{part['datasets']['skimage']['authentic_fpr']:.4g}" for part in parts]
    assert "| figure on test | ensemble | a | c |" in text
    assert f"| authentic_fpr | {' | '.join(values)} |" in text
    assert metrics["bundle"]["sha256"] in text
    assert metrics["datasets"]["skimage"]["sha256"] in text


def test_faces_get_the_verdicts_that_the_bundle_gives_when_it_is_served(
    tiny_faces: Path, face_bundle: Path, make_face_model: Callable[..., Path], tmp_path: Path
) -> None:
    models = {"first": [make_face_model("spotter", "first", 3)]}
    evaluate(tiny_faces, models, tmp_path, FACES | {"heatmaps": 4}, bundle=face_bundle)
    bundle = read_bundle(face_bundle)
    networks = open_networks(bundle, "onnx")
    crops: dict[str, list[Any]] = {}
    for row, sample in sorted(loaded(tiny_faces), key=lambda one: (one[0]["track"], one[0]["run"], one[0]["frame"])):
        crops.setdefault(row["media_id"], []).append(
            SimpleNamespace(track=row["track"], run=row["run"], frame=row["frame"], sample=sample)
        )
    found = table(tmp_path / "per_medium.parquet", model_group="bundle", model="ensemble").to_pylist()
    assert {row["media_id"] for row in found} == set(crops)
    for row in found:
        served = analyze_faces(SimpleNamespace(crops=crops[row["media_id"]]), bundle.document, networks)
        assert row["score"] == pytest.approx(served.probability, abs=1e-5)
        if abs(row["score"] - row["threshold"]) > 1e-4:
            assert row["called_manipulated"] == (served.verdict == "manipulated")
    metrics = read(tmp_path)
    assert [entry["group"] for entry in metrics["forgetting"]] == ["first", "bundle"]
    assert set(metrics["heatmaps"]["spotter"]["maps"]) == {"heatmap", "centre"}


def publish_first(bundles: dict[str, Path], dataset: Path, store: Path, folder: Path) -> None:
    """Release the bundle of v3, as it is judged on a data set."""
    evaluate(dataset, {}, folder / "evaluation", RECIPE, bundle=bundles["v3"])
    decision = publish(bundles["v3"], folder / "evaluation", str(store), folder / "decision", OPEN_GATE)
    assert decision.decision == "released"


def fewer(dataset: Path, folder: Path) -> Path:
    """The data set less one picture of test: its index has another hash."""
    index: SampleIndex = read_index(dataset)
    victim = index.where(split="test", label=1).rows()[0]["sample_id"]
    write_index(folder, index.table.filter(pc.not_equal(index.table["sample_id"], victim)), index.spec, index.shards)
    return folder


def test_the_current_release_is_judged_again_on_the_same_pictures_and_is_the_standard(
    tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    """It was released with figures of other pictures; what counts are those on these."""
    store, other = tmp_path / "store", fewer(tiny_dataset, tmp_path / "other")
    publish_first(bundles, other, store, tmp_path / "first")
    evaluate(tiny_dataset, {}, tmp_path / "out", RECIPE, bundle=bundles["v4"], store=str(store))
    evaluate(tiny_dataset, {}, tmp_path / "alone", RECIPE, bundle=bundles["v3"])
    metrics = read(tmp_path / "out")
    assert metrics["current"]["sha256"] == read_bundle(bundles["v3"]).sha256
    figures = metrics["groups"]["current"]["ensemble"]["datasets"]["skimage"]
    again = read(tmp_path / "alone")["groups"]["bundle"]["ensemble"]["datasets"]["skimage"]
    assert {name: figures[name] for name in ("f1", "authentic_fpr")} == pytest.approx(
        {name: again[name] for name in ("f1", "authentic_fpr")}, abs=1e-6
    )
    decision = publish(bundles["v4"], tmp_path / "out", str(store), tmp_path / "decision", OPEN_GATE)
    assert decision.compared == "v3, judged again on the same media"
    limits = {check.figure: check.limit for check in decision.checks}
    assert limits == pytest.approx({"f1": figures["f1"], "authentic_fpr": figures["authentic_fpr"]})


def test_without_the_store_a_release_on_other_pictures_is_not_compared(
    tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    store, other = tmp_path / "store", fewer(tiny_dataset, tmp_path / "other")
    publish_first(bundles, other, store, tmp_path / "first")
    evaluate(tiny_dataset, {}, tmp_path / "out", RECIPE, bundle=bundles["v4"])
    decision = publish(bundles["v4"], tmp_path / "out", str(store), tmp_path / "decision", OPEN_GATE)
    assert (decision.decision, decision.checks) == ("released", ())
    for path in (other, tiny_dataset):
        assert f"data set {read_index(path).sha256[:12]}" in decision.compared


def test_a_bundle_that_is_released_already_is_not_judged_twice(
    tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    publish_first(bundles, tiny_dataset, tmp_path / "store", tmp_path / "first")
    evaluate(tiny_dataset, {}, tmp_path / "out", RECIPE, bundle=bundles["v3"], store=str(tmp_path / "store"))
    assert read(tmp_path / "out")["current"] is None


def test_a_current_release_that_was_altered_is_an_error(
    tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    publish_first(bundles, tiny_dataset, tmp_path / "store", tmp_path / "first")
    released = open_store(str(tmp_path / "store/releases/regions/v3"))
    released.write("members/a/model.onnx", b"another network")
    with pytest.raises(MismatchError, match=r"members/a/model\.onnx"):
        evaluate(tiny_dataset, {}, tmp_path / "out", RECIPE, bundle=bundles["v4"], store=str(tmp_path / "store"))


def test_a_release_that_cannot_read_the_data_is_left_out_and_a_bundle_is_refused(
    tiny_faces: Path, bundles: dict[str, Path], face_bundle: Path, tmp_path: Path
) -> None:
    regions, faces = read_bundle(bundles["v4"]), read_bundle(face_bundle)
    assert unsuitable(regions, faces, [tiny_faces]) == "it is of the task regions"
    assert "member a of the bundle regions v4 cannot read" in unsuitable(regions, regions, [tiny_faces])
    assert unsuitable(faces, faces, [tiny_faces]) == ""
    with pytest.raises(MismatchError, match="member a of the bundle regions v4 cannot read"):
        evaluate(tiny_faces, {}, tmp_path, RECIPE, bundle=bundles["v4"])


def test_a_runtime_that_the_bundle_has_no_files_for_is_named(
    tiny_dataset: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="holds no torchscript; it holds onnx"):
        evaluate(tiny_dataset, {}, tmp_path, RECIPE | {"runtime": "torchscript"}, bundle=bundles["v4"])


@pytest.mark.parametrize("name", ["bundle", "current"])
def test_no_stage_may_be_called_as_a_bundle_is(tiny_dataset: Path, models: Models, tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"no group of models may be called {name}"):
        evaluate(tiny_dataset, {name: models["v3"]}, tmp_path, RECIPE)


def test_pictures_of_several_data_sets_are_judged_set_by_set(
    tiny_dataset: Path, models: Models, bundles: dict[str, Path], tmp_path: Path
) -> None:
    index = read_index(tiny_dataset).where(split="train")
    changed = index.table
    for column, value in (("dataset", "elsewhere"), ("split", "test")):
        values = pa.array([value] * len(changed), pa.string())
        changed = changed.set_column(changed.schema.get_field_index(column), column, values)
    write_index(tmp_path / "elsewhere", changed, index.spec, index.shards)
    datasets = [tiny_dataset, tmp_path / "elsewhere"]
    summary = evaluate(datasets, {"v3": models["v3"]}, tmp_path / "out", RECIPE, bundle=bundles["v4"])
    metrics = read(tmp_path / "out")
    assert (metrics["main_dataset"], list(metrics["datasets"])) == ("skimage", ["skimage", "elsewhere"])
    assert summary.evaluated == 6 + 12
    ensemble = metrics["groups"]["bundle"]["ensemble"]
    assert summary.groups["bundle"]["f1"] == ensemble["datasets"]["skimage"]["f1"]
    for name, figures in ensemble["datasets"].items():
        rows = table(tmp_path / "out/per_image.parquet", model_group="bundle", model="ensemble", dataset=name)
        assert figures["f1"] == pytest.approx(pc.mean(rows["f1"]).as_py())
        called = np.array(rows.filter(pc.equal(rows["label"], 0))["called_forged"])
        assert figures["authentic_fpr"] == pytest.approx(called.mean())
    assert [one["dataset"] for one in metrics["comparisons"]] == ["skimage", "elsewhere"]
    assert set(metrics["groups"]["bundle"]["robustness"]) == {"noise"}
    page = (tmp_path / "out/report.html").read_text()
    for heading in ("Ensembles", "Members", "bundle against v3", "Curves", "Best"):
        for name in metrics["datasets"]:
            assert f"<h2>{heading} on {name}</h2>" in page
