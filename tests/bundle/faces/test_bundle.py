from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.face_bundles import OUTPUTS, SPECS, tiny_face_networks, write_tiny_face_bundle
from bundle import Format, Run, open_networks, read_bundle
from components.export.networks import eager_run, take_apart
from core.errors import MismatchError, SettingsError

FORMATS: list[Format] = ["torchscript", "onnx"]
Rewrite = Callable[[Path, Callable[[dict[str, Any]], None]], None]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_face_bundle(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def eager() -> dict[str, dict[str, Run]]:
    return {
        member: {name: eager_run(part) for name, part in take_apart(network, SPECS[member]).items()}
        for member, network in tiny_face_networks().items()
    }


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_frames_follow_the_networks_by_name(
    classifiers: Path, eager: dict[str, dict[str, Run]], kind: Format, batch: int
) -> None:
    opened = open_networks(read_bundle(classifiers), kind)
    for member, spec in SPECS.items():
        shape = spec.only.tensor.shape
        arrays = {"face": np.random.default_rng(batch).integers(0, 256, (batch, *shape), dtype=np.uint8)}
        outputs, expected = opened[member]["model"](arrays), eager[member]["model"](arrays)
        assert tuple(outputs) == OUTPUTS[member]
        for name in outputs:
            assert outputs[name].dtype == np.float32
            np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("lengths", [[4], [1], [3, 4, 1]])
def test_clips_follow_the_network_whatever_the_padding(
    classifiers: Path, eager: dict[str, dict[str, Run]], kind: Format, lengths: list[int]
) -> None:
    run = open_networks(read_bundle(classifiers), kind)["clips"]["clip"]
    vectors = np.random.default_rng(0).normal(size=(len(lengths), 4, 4)).astype(np.float32)
    arrays = {"vectors": vectors, "lengths": np.array(lengths)}
    expected = eager["clips"]["clip"](arrays)["logits"]
    np.testing.assert_allclose(run(arrays)["logits"], expected, atol=1e-5)
    for row, length in enumerate(lengths):
        vectors[row, length:] = 100
    np.testing.assert_allclose(run(arrays)["logits"], expected, atol=1e-5)


def test_a_member_without_clips_has_no_network_for_them(classifiers: Path) -> None:
    assert set(open_networks(read_bundle(classifiers), "onnx")["stills"]) == {"model"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["extraction"].update(faces=None), "must say how they are cut out"),
        (
            lambda d: clips_of(d)["model"]["outputs"]["logits"].update(shape=[2]),
            r"the logits of model must be FP32 \[1\]",
        ),
        (lambda d: clips_of(d)["clip"]["outputs"]["logits"].update(shape=[]), r"the logits of clip must be FP32 \[1\]"),
        (lambda d: clips_of(d)["clip"]["inputs"]["vectors"].update(shape=[5, 4]), "must be vectors, lengths"),
        (lambda d: clips_of(d)["clip"]["inputs"].pop("lengths"), "must be vectors, lengths"),
        (lambda d: clips_of(d)["model"]["outputs"].pop("vectors"), "needs the output vectors"),
        (lambda d: clips_of(d).update(sound=clips_of(d).pop("clip")), "are model and clip"),
        (lambda d: d["decision"].update(min_area_fraction=0.1), "unknown key"),
    ],
)
def test_a_document_that_does_not_suit_the_task_is_refused(
    tmp_path: Path, rewrite: Rewrite, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = write_tiny_face_bundle(tmp_path)
    rewrite(folder, edit)
    with pytest.raises(SettingsError, match=message):
        read_bundle(folder)


def clips_of(document: dict[str, Any]) -> dict[str, Any]:
    networks: dict[str, Any] = document["members"][1]["networks"]
    return networks


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["model", "clip"])
def test_an_altered_file_of_either_network_is_not_loaded(tmp_path: Path, kind: Format, name: str) -> None:
    bundle = write_tiny_face_bundle(tmp_path)
    read = read_bundle(bundle)
    path = next((bundle / "members/clips").glob(f"{name}.{'ts' if kind == 'torchscript' else 'onnx'}"))
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(MismatchError, match=path.name):
        open_networks(read, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_network_of_frames_in_the_place_of_one_of_clips_is_refused(tmp_path: Path, kind: Format) -> None:
    read = read_bundle(write_tiny_face_bundle(tmp_path))
    stills, clips = read.document.members
    wrong = clips.networks["clip"].model_copy(update={"files": clips.model.files})
    swapped = clips.model_copy(update={"networks": clips.networks | {"clip": wrong}})
    document = read.document.model_copy(update={"members": (stills, swapped)})
    with pytest.raises(MismatchError, match='"network":"clip"'):
        open_networks(type(read)(document, read.sha256, read.store), kind)
