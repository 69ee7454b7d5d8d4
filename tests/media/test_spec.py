"""The preprocessing specification: what may stand beside what, and which specifications a network takes for equal."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import MismatchError
from media.spec import (
    ClipFrames,
    DetectorSpec,
    EvenFrames,
    ExtractionSpec,
    FaceSpec,
    InputSpec,
    PreprocessingSpec,
    read_spec,
    require_same_extraction,
)

VIDEO = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=8), faces=FaceSpec(), store="png")


def spec(extraction: ExtractionSpec) -> PreprocessingSpec:
    return PreprocessingSpec(extraction=extraction)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"decoder": "pyav", "store": "png"}, "decoder pyav goes with a policy of frames"),
        ({"frames": {"policy": "even", "count": 4}}, "decoder pillow with frames = still"),
        ({"decoder": "pyav", "frames": {"policy": "clips"}}, "store must be png or jpeg"),
    ],
)
def test_an_extraction_that_cannot_be_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ExtractionSpec(**fields)


def test_a_policy_of_frames_is_told_by_its_name() -> None:
    fields: dict[str, Any] = {"decoder": "pyav", "store": "jpeg"}
    assert isinstance(ExtractionSpec.model_validate({**fields, "frames": {"policy": "even"}}).frames, EvenFrames)
    assert isinstance(ExtractionSpec.model_validate({**fields, "frames": {"policy": "clips"}}).frames, ClipFrames)


@pytest.mark.parametrize("fields", [{"size": 300}, {"frames": 8}])
def test_tiles_are_single_pictures_of_whole_strides(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="tiles have a size that is a multiple of 32"):
        InputSpec(**fields)
    assert InputSpec(view="whole", **fields)


@pytest.mark.parametrize(
    "other",
    [
        VIDEO.model_copy(update={"frames": ClipFrames()}),
        VIDEO.model_copy(update={"store": "jpeg"}),
        VIDEO.model_copy(update={"faces": FaceSpec(select="all", size=128, detector=DetectorSpec(every=1))}),
        ExtractionSpec(faces=FaceSpec()),
    ],
    ids=["frames", "store", "search", "given"],
)
def test_faces_cut_alike_look_alike_however_they_were_chosen_and_stored(other: ExtractionSpec) -> None:
    require_same_extraction(spec(VIDEO), "model", spec(other), "index")
    assert spec(VIDEO).extraction_sha256 != spec(other).extraction_sha256


def test_faces_cut_otherwise_are_refused_with_both_sides_named() -> None:
    wider = VIDEO.model_copy(update={"faces": FaceSpec(margin=2.0)})
    with pytest.raises(MismatchError, match=r"model .* index .*faces\.margin: 1\.3 against 2\.0"):
        require_same_extraction(spec(VIDEO), "model", spec(wider), "index")


def test_faces_and_whole_pictures_are_told_apart() -> None:
    with pytest.raises(MismatchError, match=r"faces\.margin: 1\.3 against None"):
        require_same_extraction(spec(VIDEO), "model", spec(ExtractionSpec()), "index")


def test_an_altered_specification_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(spec(VIDEO).to_document(), encoding="utf-8")
    assert read_spec(path) == spec(VIDEO)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["spec"]["extraction"]["faces"]["margin"] = 1.4
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(MismatchError, match="hashes to"):
        read_spec(path)
