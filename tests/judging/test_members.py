import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BadInputError, MismatchError
from data.index import read_index
from judging.members import describe_model, find_checkpoint, load_for, task_of
from media.extraction import ExtractionSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from models.family import FAMILIES

SPEC = PreprocessingSpec(extraction=ExtractionSpec(), input=InputSpec(views={"tiles": {"size": 64, "overlap": 16}}))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    family = FAMILIES.get("forgery")
    settings = family.settings.model_validate({"encoder": "tu-test_efficientnet", "weights": "random"})
    spec = SPEC
    path = tmp_path_factory.mktemp("model") / "x_v3_best.pth"
    save_checkpoint(
        path,
        Checkpoint(
            epoch=1,
            model_state_dict=family.build(settings, spec.input, ("authentic", "forged"), pretrained=False).state_dict(),
            model_type=family.name,
            model_settings=settings.to_json(),
            class_names=["authentic", "forged"],
            spec=spec.to_json(),
            spec_sha256=spec.digest,
            member="x",
            stage="v3",
        ),
    )
    return path


def test_a_model_is_loaded_for_its_task(checkpoint):
    loaded = load_for("regions", checkpoint, "cpu")
    assert (loaded.member, loaded.stage, loaded.spec) == ("x", "v3", SPEC)
    assert not loaded.network.training
    assert describe_model(checkpoint).task == task_of(checkpoint) == "regions"


def test_a_model_of_another_task_is_refused(checkpoint):
    with pytest.raises(BadInputError, match="whose task is regions; this is about faces"):
        load_for("faces", checkpoint, "cpu")


def test_an_index_that_does_not_show_what_a_model_reads_is_refused(checkpoint, tiny_faces):
    with pytest.raises(MismatchError, match="model x cannot read the index: the view tiles is of whole pictures"):
        load_for("regions", checkpoint, "cpu", indexes=[read_index(tiny_faces)])


def test_a_checkpoint_of_the_published_layout_has_no_task(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "x.pth", replace(read_checkpoint(checkpoint), model_type=None))
    assert describe_model(tmp_path / "x.pth").task is None
    with pytest.raises(MismatchError, match="does not say which network"):
        task_of(tmp_path / "x.pth")


def test_a_checkpoint_that_is_not_the_described_one_is_refused(checkpoint, tmp_path):
    (tmp_path / "x.pth").write_bytes(checkpoint.read_bytes())
    (tmp_path / "model.json").write_text(json.dumps({"checkpoint": "x.pth", "sha256": "0" * 64}))
    with pytest.raises(MismatchError, match=r"model\.json beside it says 0000"):
        load_for("regions", tmp_path, "cpu")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"checkpoint": "x.pth"}'])
def test_a_folder_that_is_no_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(BadInputError, match="is no model"):
        find_checkpoint(tmp_path)
