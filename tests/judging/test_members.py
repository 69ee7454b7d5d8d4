import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BadInputError, MismatchError
from judging.members import find_checkpoint, load_member
from media.spec import PreprocessingSpec
from models.checkpoint import Checkpoint, load_network, save_checkpoint
from models.registry import get_family


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    family = get_family("forgery")
    settings = family.settings.model_validate({"encoder": "tu-test_efficientnet", "weights": "random"})
    spec = PreprocessingSpec()
    path = tmp_path_factory.mktemp("model") / "x_v3_best.pth"
    save_checkpoint(
        path,
        Checkpoint(
            epoch=1,
            model_state_dict=family.build(settings, spec.input.channels, pretrained=False).state_dict(),
            model_type=family.name,
            model_settings=settings.to_json(),
            class_names=list(family.class_names),
            spec=spec.to_json(),
            spec_sha256=spec.sha256,
            member="x",
            generation="v3",
        ),
    )
    return path


def test_a_member_is_called_by_its_variant_and_judges(checkpoint):
    member = load_member(checkpoint, "cpu")
    assert (member.name, member.weight, member.temperature) == ("x", 1, 1)
    assert member.input == PreprocessingSpec().input
    assert not member.network.training


def test_a_checkpoint_that_is_not_the_described_one_is_refused(checkpoint, tmp_path):
    (tmp_path / "x.pth").write_bytes(checkpoint.read_bytes())
    (tmp_path / "model.json").write_text(json.dumps({"checkpoint": "x.pth", "sha256": "0" * 64}))
    with pytest.raises(MismatchError, match=r"model\.json beside it says 0000"):
        load_member(tmp_path, "cpu")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"checkpoint": "x.pth"}'])
def test_a_folder_that_is_no_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(BadInputError, match="is no model"):
        find_checkpoint(tmp_path)


def test_a_model_that_marks_no_regions_is_refused(checkpoint, monkeypatch):
    loaded = load_network(checkpoint)
    other = replace(loaded, family=replace(loaded.family, task="classification"))
    monkeypatch.setattr("judging.members.load_network", lambda path, device: other)
    with pytest.raises(BadInputError, match="task classification"):
        load_member(checkpoint, "cpu")
