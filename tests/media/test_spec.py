"""Specifications: what may stand beside what, what an input consists of, and which samples suit which network."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import MismatchError, SettingsError
from core.settings import validate
from media.extraction import ClipFrames, DetectorSpec, EvenFrames, ExtractionSpec, FaceSpec, SampleSpec, read_spec
from media.spec import InputSpec, PreprocessingSpec, require_suitable
from media.tensors import TensorSpec
from media.views.centre import CentreView
from media.views.face import FaceView
from media.views.tiles import TilesView

VIDEO = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=8), faces=FaceSpec(), store="png")
FACE = InputSpec(views={"face": FaceView(size=64)})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"decoder": "pyav", "store": "png"}, "decoder pyav goes with a policy of frames"),
        ({"frames": {"policy": "even", "count": 4}}, "decoder pillow with frames = still"),
        ({"decoder": "pyav", "frames": {"policy": "clips"}}, "store must be png or jpeg"),
    ],
)
def test_an_extraction_that_cannot_be_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ExtractionSpec(**fields)


def test_a_policy_of_frames_is_problem_by_its_name() -> None:
    fields: dict[str, Any] = {"decoder": "pyav", "store": "jpeg"}
    assert isinstance(ExtractionSpec.model_validate({**fields, "frames": {"policy": "even"}}).frames, EvenFrames)
    assert isinstance(ExtractionSpec.model_validate({**fields, "frames": {"policy": "clips"}}).frames, ClipFrames)


def test_views_are_read_with_the_settings_of_their_name() -> None:
    spec = InputSpec.model_validate({"views": {"tiles": {"size": 64, "ela": {}}, "face": None}})
    assert list(spec.views) == ["tiles"]
    assert isinstance(spec.only, TilesView)
    assert spec.signature == {"tiles": TensorSpec(datatype="UINT8", shape=(6, 64, 64))}


def test_an_input_is_the_same_after_a_journey() -> None:
    spec = InputSpec(views={"face": FaceView(size=64), "centre": CentreView(size=96)}, frames=4)
    for copy in (InputSpec.model_validate_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        assert copy == spec
        assert hash(copy) == hash(spec)
        assert copy.digest == spec.digest
        assert isinstance(copy.views["centre"], CentreView)
    assert spec.signature["centre"].shape == (3, 96, 96)
    with pytest.raises(SettingsError, match="centre, face: this network reads one view"):
        _ = spec.only


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"views": {"fase": {}}}, "unknown view 'fase'. Did you mean 'face'"),
        ({"views": {"tiles": {"size": 300}}}, "tiles.size = 300: Input should be a multiple of 32"),
        ({"views": {"tiles": {"sise": 64}}}, "tiles.sise = 64: unknown key; allowed: channel_order, ela"),
        ({"views": {"tiles": {}}, "frames": 8}, "tiles are of single pictures, frames must be 1"),
        ({"views": {"face": None}}, "at least one view of centre, face, tiles"),
        ({"views": ["face"]}, "must be a mapping"),
        ({}, "views: Field required"),
    ],
)
def test_an_input_that_cannot_be_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        validate(InputSpec, fields, "recipe")


def test_the_schema_describes_every_view_and_its_fields() -> None:
    schema = InputSpec.model_json_schema()
    views = schema["properties"]["views"]
    assert set(views["properties"]) == {"centre", "face", "tiles", "whole"}
    assert views["additionalProperties"] is False
    fields = views["properties"]["centre"]["anyOf"][0]["properties"]
    assert all(field["description"] for field in fields.values())


@pytest.mark.parametrize(
    "other",
    [
        VIDEO.model_copy(update={"frames": ClipFrames()}),
        VIDEO.model_copy(update={"store": "jpeg"}),
        VIDEO.model_copy(update={"faces": FaceSpec(select="all", max_side=128, detector=DetectorSpec(every=1))}),
        VIDEO.model_copy(update={"faces": FaceSpec(margin=2.0)}),
        ExtractionSpec(faces=FaceSpec()),
    ],
    ids=["frames", "store", "search", "wider", "given"],
)
def test_faces_suit_a_view_however_they_were_chosen_and_stored(other: ExtractionSpec) -> None:
    require_suitable(FACE, "model", other, "index")


def test_samples_that_lack_what_a_view_shows_are_refused_with_both_sides_named() -> None:
    for faces in (FaceSpec(margin=1.1), FaceSpec(margin=1.0)):
        with pytest.raises(MismatchError, match=r"model cannot read index: views.face needs crops of margin 1\.3"):
            require_suitable(FACE, "model", VIDEO.model_copy(update={"faces": faces}), "index")
    given = ExtractionSpec(faces=FaceSpec(margin=2.0))
    assert given.of_pictures
    with pytest.raises(MismatchError, match="crops were cut with 2"):
        require_suitable(FACE, "model", given, "index")
    with pytest.raises(MismatchError, match="whole pictures"):
        require_suitable(FACE, "model", ExtractionSpec(), "index")
    with pytest.raises(MismatchError, match="face crops"):
        require_suitable(InputSpec(views={"tiles": TilesView()}), "model", VIDEO, "index")


def test_a_specification_is_told_from_any_other_by_its_digest() -> None:
    specs = [
        PreprocessingSpec(extraction=extraction, input=read)
        for extraction in (VIDEO, ExtractionSpec())
        for read in (FACE, InputSpec(views={"face": FaceView(size=96)}))
    ]
    assert len({spec.digest for spec in specs}) == 4
    assert len({hash(spec) for spec in specs}) == 4
    assert PreprocessingSpec.model_validate_json(specs[0].to_json()) == specs[0]


def test_an_altered_specification_is_refused(tmp_path: Path) -> None:
    path, spec = tmp_path / "spec.json", SampleSpec(classes=("real", "manipulated"), extraction=VIDEO)
    path.write_text(spec.to_document(), encoding="utf-8")
    assert read_spec(path) == spec
    document = json.loads(path.read_text(encoding="utf-8"))
    document["spec"]["extraction"]["faces"]["margin"] = 1.4
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(MismatchError, match="hashes to"):
        read_spec(path)
