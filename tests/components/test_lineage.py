import json
from pathlib import Path

import pytest

from components.lineage import LINEAGE_FILE, earlier_stages, record
from core.errors import BadInputError, MismatchError
from core.storage import open_store

STAGES = [f"s{number}" for number in range(12)]


def model(folder: Path, member: str, stage: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"member": member, "stage": stage}))
    (folder / f"{member}_{stage}_best.pth").write_bytes(f"weights of {member} {stage}".encode())
    return folder


def trained(tmp_path: Path, member: str) -> Path:
    """A member's model of the last of twelve stages; all those before it are only in the store."""
    base = None
    for stage in STAGES:
        made = model(tmp_path / "pods" / member / stage, member, stage)
        record(made, base, "" if stage == STAGES[-1] else str(tmp_path / "store/models"))
        base = made
    assert base is not None
    return base


def test_the_models_of_the_stages_before_are_found_from_those_of_the_last(tmp_path: Path) -> None:
    last = [trained(tmp_path, member) for member in ("a", "b")]
    found = earlier_stages(last, tmp_path / "fetched")
    assert list(found) == STAGES[:-1]
    for stage, paths in found.items():
        assert [(path / f"{member}_{stage}_best.pth").exists() for path, member in zip(paths, "ab", strict=True)] == [
            True, True
        ]  # fmt: skip


def test_a_model_is_kept_once_whatever_is_started_again(tmp_path: Path) -> None:
    made = model(tmp_path / "one", "a", "v3")
    for _ in range(2):
        record(made, None, str(tmp_path / "store"))
    assert len(list((tmp_path / "store/a_v3").iterdir())) == 1
    assert len(json.loads((made / LINEAGE_FILE).read_text())) == 1


def test_a_model_that_was_kept_is_no_earlier_stage_of_itself(tmp_path: Path) -> None:
    made = model(tmp_path / "one", "a", "v3")
    record(made, None, str(tmp_path / "store"))
    assert earlier_stages([made], tmp_path / "fetched") == {}


def test_a_kept_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    last = trained(tmp_path, "a")
    address = json.loads((last / LINEAGE_FILE).read_text())[3]["address"]
    open_store(address).write("a_s3_best.pth", b"other weights")
    with pytest.raises(MismatchError, match=r"a_s3_best\.pth"):
        earlier_stages([last], tmp_path / "fetched")


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"holds no model\.json"):
        earlier_stages([tmp_path], tmp_path / "fetched")
