"""The whole step on the tiny data set, in this process."""

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from components.train import state, step
from components.train.__main__ import main
from components.train.errors import NonFiniteLossError
from components.train.recipe import TrainRecipe
from components.train.state import RunState
from components.train.step import train
from core.errors import MismatchError, SettingsError, StorageError
from core.files import sha256_file
from core.settings import validate
from core.storage.lease import Lease, LeaseHeldError
from data.index import read_index
from models.checkpoint import load_network, read_checkpoint, save_checkpoint
from tasks.regions import validation


def _recipe(keys: dict, **changes) -> TrainRecipe:
    return validate(TrainRecipe, {**keys, **changes}, "recipe")


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory) -> Path:
    """The output folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = {
        "member": "tiny", "stage": "v3", "family": "forgery", "batch_size": 4, "epochs": 2,
        "workers": 0, "device": "cpu", "policy": "native",
        "model": {
            "encoder": "tu-test_efficientnet", "weights": "random", "pyramid_channels": 32, "segmentation_channels": 32
        },
        "input": {"views": {"tiles": {"size": 64, "overlap": 16}}}, "optimizer": {"lr": 0.003},
        "monitor": {"metric": "f1"},
    }  # fmt: skip
    (folder / "recipe.json").write_text(json.dumps(recipe))
    arguments = [f"--dataset={tiny_dataset}", f"--recipe={folder / 'recipe.json'}", f"--output={folder / 'out'}"]
    assert main(arguments) == 0
    return folder / "out"


@pytest.fixture
def recipe(trained) -> dict:
    """The recipe of ``trained``."""
    return json.loads((trained.parent / "recipe.json").read_text())


def test_the_artifact_describes_itself(trained, tiny_dataset):
    document = json.loads((trained / "model.json").read_text())
    checkpoint = trained / "tiny_v3_best.pth"
    assert document["checkpoint"] == checkpoint.name
    assert document["sha256"] == sha256_file(checkpoint)
    assert (document["member"], document["stage"], document["family"]) == ("tiny", "v3", "forgery")
    assert set(document["metrics"]) >= {"f1", "iou", "authentic_fpr", "threshold"}
    loaded = load_network(checkpoint)
    assert (loaded.member, loaded.stage) == ("tiny", "v3")
    assert loaded.spec.input.only.size == 64
    assert loaded.classes == read_index(tiny_dataset).spec.classes
    assert loaded.network({"tiles": torch.zeros(1, 3, 64, 64)}).shape == (1, 1, 64, 64)
    content = read_checkpoint(checkpoint)
    assert content.dataset_sha256 == read_index(tiny_dataset).sha256
    assert content.metrics == document["metrics"]
    assert content.optimizer_state_dict


def test_the_log_has_a_line_an_epoch_with_every_loss_term(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["samples"]) for line in lines] == [(1, 3, 12), (2, 6, 12)]
    for line in lines:
        assert set(line["train"]) == {"loss", "focal", "dice", "authentic"}
        assert set(line["val"]) >= {"f1", "authentic_fpr"}
        assert line["samples_per_s"] > 0 and line["seconds"] > 0 and 0 <= line["data_wait"] <= 1


def test_the_report_is_one_file_with_curves(trained):
    page = (trained / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "authentic_fpr is at most 0.05" in page
    assert "http://" not in page and "https://" not in page


def test_a_second_start_trains_nothing_and_gives_the_same_model(trained, tiny_dataset, recipe, monkeypatch):
    expected = {path.name: path.read_bytes() for path in trained.iterdir()}
    shutil.rmtree(trained)
    monkeypatch.setattr(step, "Trainer", None)
    summary = train(tiny_dataset, trained, _recipe(recipe))
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == expected
    assert summary.sha256 == sha256_file(summary.checkpoint)


@pytest.mark.parametrize("finished", [True, False])
def test_a_start_with_another_recipe_on_the_same_state_is_refused(trained, tiny_dataset, recipe, tmp_path, finished):
    state = shutil.copytree(f"{trained}.state", tmp_path / "state")
    if not finished:
        (state / "tiny_v3" / "finished.json").unlink()
    with pytest.raises(MismatchError, match=r"recipe key optimizer.lr: 0.003 there, 0.5 here"):
        train(tiny_dataset, tmp_path / "out", _recipe(recipe, optimizer={"lr": 0.5}), state=str(state))
    assert not (tmp_path / "out").exists()


def test_a_start_with_another_data_set_on_the_same_state_is_refused(trained, tiny_dataset, recipe, tmp_path):
    import pyarrow.parquet as pq

    other = shutil.copytree(tiny_dataset, tmp_path / "other")
    table = pq.read_table(other / "index.parquet")
    pq.write_table(table.slice(1).replace_schema_metadata(table.schema.metadata), other / "index.parquet")
    with pytest.raises(MismatchError, match="dataset: ") as caught:
        train(other, tmp_path / "out", _recipe(recipe), state=f"{trained}.state")
    assert str(tiny_dataset) in str(caught.value) and str(other) in str(caught.value)


def _terminate(*arguments, **keys):
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("it went on")


def test_a_termination_during_validation_loses_nothing(trained, tiny_dataset, recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(validation, "validate", _terminate)
        train(tiny_dataset, tmp_path / "out", _recipe(recipe))
    assert caught.value.code == 143
    summary = train(tiny_dataset, tmp_path / "out", _recipe(recipe))
    assert summary.checkpoint.read_bytes() == (trained / "tiny_v3_best.pth").read_bytes()


def test_fine_tuning_starts_from_the_base_and_draws_its_hard_negatives(trained, tiny_dataset, recipe, tmp_path):
    hard = read_index(tiny_dataset).where(split="train", label=0).column("sample_id")[:2].tolist()
    (tmp_path / "hard.txt").write_text("\n".join(hard))
    seen = {}

    class Watched(step.Trainer):
        def run(self) -> None:
            seen["weights"] = {name: value.clone() for name, value in self.network.state_dict().items()}
            seen["draw"] = self.parts.batches._weights
            seen["optimizer"] = self.optimizer.state_dict()["state"]
            super().run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "Trainer", Watched)
        train(
            tiny_dataset,
            tmp_path / "out",
            _recipe(recipe, stage="v4", base_stage="v3", epochs=1),
            base=trained,
            hard_negatives=tmp_path / "hard.txt",
        )
    base = read_checkpoint(trained / "tiny_v3_best.pth").model_state_dict
    assert all(torch.equal(seen["weights"][name], value) for name, value in base.items())
    assert sorted(seen["draw"])[-2:] == [5, 5]
    assert seen["optimizer"] == {}
    assert (tmp_path / "out" / "tiny_v4_best.pth").exists()


def test_a_missing_base_says_which_path_was_looked_at_and_how_to_train_it(tiny_dataset, recipe, tmp_path):
    with pytest.raises(StorageError) as caught:
        train(tiny_dataset, tmp_path / "out", _recipe(recipe, stage="v4", base_stage="v3"), base=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "tiny_v3_best.pth") in str(caught.value)
    assert "python -m components.train" in str(caught.value)


def test_a_later_stage_without_a_base_says_which_one_it_needs(tiny_dataset, recipe, tmp_path):
    with pytest.raises(SettingsError, match=r"fine-tuned from v3: give --base .* tiny_v3_best.pth"):
        train(tiny_dataset, tmp_path / "out", _recipe(recipe, stage="v4", base_stage="v3"))


def test_a_base_of_another_normalisation_is_refused(trained, tiny_dataset, recipe, tmp_path):
    view = recipe["input"]["views"]["tiles"]
    other = _recipe(recipe, stage="v4", base_stage="v3", input={"views": {"tiles": {**view, "mean": [0.5, 0.5, 0.5]}}})
    message = r"input.views.tiles.mean = \(0.485, 0.456, 0.406\), the recipe has \(0.5, 0.5, 0.5\)"
    with pytest.raises(MismatchError, match=message):
        train(tiny_dataset, tmp_path / "out", other, base=trained)


def test_a_data_set_that_cannot_show_the_views_is_refused(tiny_faces, recipe, tmp_path):
    with pytest.raises(MismatchError, match=r"tiny_v3 cannot read .*: the view tiles is of whole pictures"):
        train(tiny_faces, tmp_path / "out", _recipe(recipe))


def test_a_published_checkpoint_serves_as_a_base(trained, tiny_dataset, recipe, tmp_path):
    whole = read_checkpoint(trained / "tiny_v3_best.pth")
    published = type(whole)(epoch=3, model_state_dict=whole.model_state_dict, optimizer_state_dict={}, loss=0.5)
    save_checkpoint(tmp_path / "tiny_v3_best.pth", published)
    summary = train(
        tiny_dataset, tmp_path / "out", _recipe(recipe, stage="v4", base_stage="v3", epochs=1), base=tmp_path
    )
    assert summary.checkpoint.name == "tiny_v4_best.pth"


def test_a_loss_that_is_not_finite_names_samples_of_the_data_set(tiny_dataset, recipe, tmp_path):
    with pytest.raises(NonFiniteLossError) as caught:
        train(tiny_dataset, tmp_path / "out", _recipe(recipe, optimizer={"lr": 1e30}))
    ids = read_index(tiny_dataset).where(split="train").column("sample_id")
    assert len(caught.value.sample_ids) == 4
    assert set(caught.value.sample_ids) <= set(ids)


@pytest.mark.s3
def test_state_and_output_may_lie_in_a_bucket(trained, tiny_dataset, recipe, tmp_path, bucket, monkeypatch, capsys):
    from core.storage import open_store

    place, upload = f"{bucket}/state", f"{bucket}/models/tiny"
    store = open_store(f"{place}/tiny_v3")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(validation, "validate", _terminate)
        train(tiny_dataset, tmp_path / "first", _recipe(recipe), state=place)
    assert [info.key for info in store.list("steps/")] == ["steps/000001-000000003.pth"]
    assert json.loads(store.read("lease.json"))["expires"] == 0  # the retry need not wait
    # Another pod with an empty disk goes on from the bucket.
    summary = train(tiny_dataset, tmp_path / "second", _recipe(recipe), state=place, upload=upload)
    assert summary.checkpoint.read_bytes() == (trained / "tiny_v3_best.pth").read_bytes()
    assert "goes on after step 3" in capsys.readouterr().err
    assert [info.key for info in store.list("steps/")] == []
    names = {info.key for info in open_store(upload).list()}
    assert names == {"tiny_v3_best.pth", "model.json", "log.jsonl", "report.html"}


@pytest.mark.s3
def test_the_checkpoints_of_steps_stay_until_the_artifact_is_written(tiny_dataset, recipe, tmp_path, bucket):
    with pytest.raises(StorageError):
        train(tiny_dataset, tmp_path / "out", _recipe(recipe, epochs=1), upload="s3://nowhere/models")
    steps = tmp_path / "out.state" / "tiny_v3" / "steps"
    assert len(list(steps.iterdir())) == 1
    train(tiny_dataset, tmp_path / "out", _recipe(recipe, epochs=1))
    assert list(steps.iterdir()) == []


def test_a_second_training_on_one_state_is_refused_while_the_first_lives(tiny_dataset, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "Lease", partial(Lease, duration=12))
    parsed = _recipe(recipe)
    with (
        RunState(str(tmp_path / "state"), parsed.name, keep_last=1).held(print),
        pytest.raises(LeaseHeldError, match=r"tiny_v3 is in use by process \d+ on"),
    ):
        train(tiny_dataset, tmp_path / "out", parsed, state=str(tmp_path / "state"))
    assert not (tmp_path / "out").exists()


def test_the_command_line_explains_errors_without_a_traceback(tiny_dataset, recipe, tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text("member: x\nfamily: forgery\noptimiser: {lr: 1}\n")
    assert main([f"--dataset={tiny_dataset}", f"--recipe={path}", f"--output={tmp_path / 'out'}"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and "optimiser" in errors and "Traceback" not in errors
