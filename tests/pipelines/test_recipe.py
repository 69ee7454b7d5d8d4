"""Recipes: found, laid over one another, and refused with the key that is wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from components.train.sampling import draw
from core.errors import SettingsError, VeriframeError
from core.registry import EXTENSIONS_VARIABLE
from data.index import SampleIndex
from data.tracks import find_tracks
from media.extraction import SampleSpec
from pipelines import finding
from pipelines.finding import load_recipe, pipeline_folders, recipe_names
from pipelines.resolution import ResolvedPipeline, load_pipeline
from tasks.faces.settings import FacesSampling
from tasks.faces.training import sample_weights
from tasks.task import TASKS

PUBLISHED = ["highres_no_ela", "hard_negative", "high_recall", "enhanced_aug"]
TINY = Path(__file__).with_name("tiny.yaml")
TINY_FACES = Path(__file__).with_name("tiny_faces.yaml")


def shipped(name: str) -> ResolvedPipeline:
    return load_pipeline(name.partition("/")[0], name)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_resolves(name: str) -> None:
    pipeline = shipped(name)
    assert list(pipeline.extraction) == list(pipeline.recipe.datasets)
    for member, stages in pipeline.training.items():
        assert list(stages) == list(pipeline.recipe.stages)
        assert {recipe.member for recipe in stages.values()} == {member}


def test_the_published_forgery_recipe_holds_the_published_settings() -> None:
    pipeline = shipped("forgery/published")
    assert list(pipeline.training) == PUBLISHED
    for member, stages in pipeline.training.items():
        resolved = stages["v3"]
        assert resolved.input.views["tiles"].size == 512
        assert (resolved.batch_size, resolved.epochs) == (4, 25)
        optimizer = resolved.optimizer
        assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adamw", 1e-4, 1e-4)
        assert (resolved.schedule.name, resolved.schedule.interval) == ("cosine", "epoch")
        assert resolved.model["encoder"] == "timm-efficientnet-b2"
        assert resolved.parsed_sampling.bands == ((0.01, 3.0), (0.05, 2.0), (1.0, 1.0))
        assert resolved.parsed_sampling.hard_negative == (10 if member == "hard_negative" else 5)
        assert resolved.loss["authentic_weight"] == 2
        assert stages["v4"].parsed_sampling.authentic == 0
    policies = {member: stages["v3"].policy for member, stages in pipeline.training.items()}
    assert policies == dict.fromkeys(PUBLISHED, "forgery") | {"enhanced_aug": "enhanced"}
    assert list(pipeline.sweeps) == ["v4"]


def test_the_published_deepfake_recipe_holds_the_published_settings(tmp_path: Path) -> None:
    pipeline = shipped("deepfake/published")
    assert [stage.dataset for stage in pipeline.recipe.stages.values()] == ["faceforensics", "celebdf", "dfdc"]
    genconvit, b3 = (stages["faceforensics"] for stages in pipeline.training.values())
    assert (b3.batch_size, b3.optimizer.lr, b3.accumulate) == (4, 5e-5, 2)
    assert (b3.input.views["face"].size, b3.input.frames, b3.model["backbone"]) == (300, 8, "efficientnet_b3")
    for one in (genconvit, b3):
        assert one.parsed_sampling.balanced
        schedule = one.schedule
        assert (one.optimizer.name, one.policy) == ("adamw", "faces")
        assert (schedule.name, schedule.factor, schedule.patience, schedule.min_lr) == ("plateau", 0.5, 5, 1e-7)
        assert (one.monitor.metric, one.monitor.mode) == ("loss", "min")
        assert one.early_stopping is not None
        assert one.early_stopping.patience == 10
        assert one.clip_norm is not None
    assert genconvit.model["dropout"] == 0.5
    text = (finding.RECIPES / "deepfake/published.yaml").read_text()
    other = tmp_path / "b0.yaml"
    other.write_text(text.replace("{genconvit: {}, spotter_b3: {}}", "{spotter_b0: {}}"))
    b0 = load_pipeline("deepfake", str(other)).training["spotter_b0"]["faceforensics"]
    assert (b0.batch_size, b0.optimizer.lr, b0.accumulate, b0.input.views["face"].size) == (8, 1e-4, 1, 224)


def test_a_variant_lies_over_the_recipe_and_a_stage_over_both() -> None:
    pipeline = shipped("forgery/cpu")
    v3, v4 = pipeline.training["features_gate"].values()
    assert v3.model["gate"] == "features"
    assert v3.model["encoder"] == pipeline.recipe.train["model"]["encoder"]  # type: ignore[index, call-overload]
    assert v4.epochs != v3.epochs
    assert v4.optimizer.weight_decay == v3.optimizer.weight_decay
    assert (v3.stage, v3.base_stage, v4.stage, v4.base_stage) == ("v3", None, "v4", "v3")


def test_a_members_own_keys_lie_over_its_variant() -> None:
    one, two = load_pipeline("deepfake", str(TINY_FACES)).training["spotter_lite"].values()
    assert one.family == "spotter"  # of the variant
    view = one.input.views["centre"]
    assert (view.size, view.mean[0]) == (32, 0.498)  # its own, and the variant's
    assert (one.optimizer.lr, two.optimizer.lr) == (1e-3, 1e-5)
    assert (one.base_stage, two.base_stage) == (None, "one")


def test_crops_are_as_wide_as_the_widest_view_and_no_wider(tmp_path: Path) -> None:
    published = shipped("deepfake/published")
    assert {one.spec.extraction.faces.margin for one in published.extraction.values()} == {1.3}
    wider = load_pipeline(
        "deepfake", "deepfake/published", ["members.spotter_b3.input.views.face.margin=1.7"]
    ).extraction
    assert {one.spec.extraction.faces.margin for one in wider.values()} == {1.7}
    given = load_pipeline("deepfake", "deepfake/published", ["extract.spec.extraction.faces.margin=2.5"]).extraction
    assert {one.spec.extraction.faces.margin for one in given.values()} == {2.5}
    cut_by_others = shipped("deepfake/cpu_spotter").extraction["faces"]
    assert cut_by_others.spec.extraction.faces.margin == 1.0


def test_a_view_that_a_data_set_cannot_show_is_refused_before_anything_runs() -> None:
    with pytest.raises(VeriframeError, match=r"data set faces.*views\.centre\.margin = 2"):
        load_pipeline("deepfake", "deepfake/cpu_spotter", ["members.spotter_lite.input.views.centre.margin=2"])


def test_any_subset_of_the_members_can_be_chosen() -> None:
    chosen = shipped("forgery/published").choose(["enhanced_aug", "high_recall"])
    assert list(chosen.training) == ["enhanced_aug", "high_recall"]


def test_variants_beside_a_recipe_come_before_those_of_the_pipeline(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(TINY.read_text().replace("high_recall: {}", "high_recall: {}, mine: {}"))
    variants = tmp_path / "variants"
    variants.mkdir()
    (variants / "mine.yaml").write_text("description: own\ntrain: {family: forgery, seed: 7}\n")
    (variants / "high_recall.yaml").write_text("description: other\ntrain: {family: forgery, seed: 8}\n")
    training = load_pipeline("forgery", str(recipe)).training
    assert {member: stages["v3"].seed for member, stages in training.items()} == {
        "highres_no_ela": 0, "high_recall": 8, "mine": 7
    }  # fmt: skip


def test_a_folder_of_recipes_is_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pipelines/recipes/mine"
    (folder / "variants").mkdir(parents=True)
    (folder / "published.yaml").write_text(TINY.read_text().replace("highres_no_ela: {}, high_recall: {}", "own: {}"))
    (folder / "variants/own.yaml").write_text("description: own\ntrain: {family: forgery}\n")
    monkeypatch.setenv(EXTENSIONS_VARIABLE, str(tmp_path))
    assert {"mine", "forgery", "deepfake"} <= set(pipeline_folders())
    assert "mine/published" in recipe_names()
    assert list(load_pipeline("mine").training) == ["own"]


@pytest.mark.parametrize(
    ("pipeline", "recipe", "message"),
    [
        ("forgery", "forgery/publised", "Did you mean 'forgery/published'?"),
        ("forgry", None, "Did you mean 'forgery'?"),
        ("deepfake", "forgery/cpu", "forgery/cpu is no recipe of the pipeline deepfake"),
        ("forgery", "absent.yaml", "absent.yaml: cannot be read"),
    ],
)
def test_a_wrong_name_is_an_error_with_a_suggestion(pipeline: str, recipe: str | None, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_pipeline(pipeline, recipe)
    assert message in str(caught.value)


def test_a_wrong_member_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'high_recall'\?"):
        shipped("forgery/published").choose(["hihg_recall"])


WRONG = [
    (TINY, "layout: forged-authentic-masks", "layout: forged-authentic-mask", r"extraction recipe of tiny.*layout = "),
    (TINY, "batch_size: 4", "batch_sise: 4", r"training recipe of highres_no_ela in stage v3.*batch_sise"),
    (TINY, "v3: {dataset: tiny}", "v3: {dataset: tiny, sweep: {}}", r"stages\.v3\.sweep: the first stage has no model"),
    (TINY, "sweep: {gallery: 2}", "sweep: {galery: 2}", r"galery = 2: unknown key; allowed: .*mining_threshold"),
    (TINY, "{min_f1: 0.0", "{min_auc: 0.0", r"publish\.gate.*min_auc = 0.0: unknown key; allowed: .*min_f1"),
    (TINY, "evaluate: {degr", "evaluate: {threshold: ceiling, degr", r"evaluate:.*threshold = 'ceiling': unknown key"),
    (TINY, "export: {name", "export: {calibrat: true, name", r"export:.*calibrat = True: unknown key"),
    (TINY, "export: {", "exports: {", r"exports = .*unknown key; allowed: .*export"),
    (TINY, "high_recall: {}", "high_recall: {family: genconvit}", r"training recipe of high_recall in stage v3"),
    (TINY_FACES, "{dataset: second", "{dataset: secnd", r"stages\.two\.dataset = 'secnd'.*Did you mean 'second'"),
    (TINY_FACES, "parts: 2", "parts: 0", r"datasets\.first\.parts = 0"),
    (TINY_FACES, "genconvit_lite:", "genconvit_light:", r"Did you mean 'genconvit_lite'"),
    (TINY_FACES, "two: {dataset: second", "two: {sweep: {}, dataset: second", r"stages\.two\.sweep: there is no sweep"),
    (TINY_FACES, "stages:\n", "fit: thrid\nstages:\n", r"fit = 'thrid'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "message"), WRONG)
def test_a_wrong_recipe_is_an_error_that_names_the_key(
    tmp_path: Path, path: Path, old: str, new: str, message: str
) -> None:
    text = path.read_text()
    assert old in text
    wrong = tmp_path / "mine.yaml"
    wrong.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        load_pipeline("forgery" if path is TINY else "deepfake", str(wrong))


def test_earlier_stages_are_fitted_as_the_bundle_is_unless_the_recipe_says_otherwise() -> None:
    export = ("export.max_authentic_fpr=0.2", "export.calibrate=false", "export.inference.batch_size=3")
    pipeline = load_pipeline("forgery", str(TINY), export)
    assert (pipeline.evaluate.max_authentic_fpr, pipeline.evaluate.calibrate) == (0.2, False)
    assert pipeline.evaluate.inference.batch_size != 3
    other = load_pipeline("forgery", str(TINY), [*export, "evaluate.max_authentic_fpr=0.3"])
    assert (other.export.max_authentic_fpr, other.evaluate.max_authentic_fpr) == (0.2, 0.3)


def test_members_of_several_tasks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "variants").mkdir()
    variant = yaml.safe_load((finding.RECIPES / "deepfake/variants/spotter_lite.yaml").read_text())
    (tmp_path / "variants/face.yaml").write_text(yaml.safe_dump(variant))
    text = TINY.read_text().replace("  model: {", "  precision: fp32\n  seed: 0\n  device: cpu #{")
    text = text.replace("high_recall: {}", "face: {input: {views: {tiles: null}}}")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text)
    with pytest.raises(SettingsError, match=r"all must be of one task.*highres_no_ela \(regions\), face \(faces\)"):
        load_pipeline("forgery", str(recipe))


def test_settings_are_of_the_classes_of_the_members_task() -> None:
    for name in ("forgery/published", "deepfake/published"):
        pipeline = shipped(name)
        (family,) = {one.parsed_family.task for stages in pipeline.training.values() for one in stages.values()}
        task = TASKS.get(family)
        assert type(pipeline.evaluate) is task.evaluate_settings
        assert type(pipeline.export) is task.export_settings


def test_a_recipe_is_read_from_its_path() -> None:
    assert list(load_recipe(TINY).stages) == ["v3", "v4"]


def test_published_deepfake_stages_draw_as_many_authentic_as_manipulated_faces() -> None:
    """Of FaceForensics++'s one authentic clip to four manipulated ones, whether a member draws faces or tracks."""
    media, frames = np.repeat(np.arange(50), 4), np.tile(np.arange(4, dtype=np.int32), 50)
    manipulated = media % 5 > 0
    rows = {
        "sample_id": [f"s{number}" for number in range(200)],
        "media_id": [f"m{number:02d}" for number in media],
        "label": manipulated.astype(np.int8),
        "forged_fraction": manipulated.astype(np.float64),
        "track": np.zeros(200, np.int32),
        "run": np.zeros(200, np.int32),
        "frame": frames,
    }
    index = SampleIndex(pa.table(rows), SampleSpec(), "shards", "0" * 64)
    tracks = find_tracks(index)
    for stages in shipped("deepfake/published").training.values():
        for recipe in stages.values():
            sampling = recipe.parsed_sampling
            assert isinstance(sampling, FacesSampling)
            clips = recipe.parsed_family.clips
            weights = sample_weights(index, frozenset(), sampling, tracks if clips else None)
            drawn, _ = draw(weights, seed=recipe.seed, epoch=0, count=4000)
            labels = manipulated[tracks.rows[tracks.starts[drawn]]] if clips else manipulated[drawn]
            assert labels.mean() == pytest.approx(0.5, abs=0.03)
