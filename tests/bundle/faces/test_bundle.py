from pathlib import Path

import numpy as np
import pytest
import torch

from bench.face_bundles import SPECS, tiny_face_parts, write_tiny_face_bundle
from bundle import Format, open_faces, open_runtime, read_bundle
from core.errors import MismatchError, SettingsError
from models.inputs import Normalize

FORMATS: list[Format] = ["torchscript", "onnx"]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_face_bundle(tmp_path_factory.mktemp("faces"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_frames_say_what_the_networks_say_by_name(classifiers: Path, kind: Format, batch: int) -> None:
    runs = open_faces(read_bundle(classifiers), kind)
    for name, parts in tiny_face_parts().items():
        size = SPECS[name].size
        pixels = np.random.default_rng(batch).integers(0, 256, (batch, 3, size, size), dtype=np.uint8)
        with torch.inference_mode():
            expected = parts.frames(Normalize.from_spec(SPECS[name])(torch.from_numpy(pixels)))
        found = runs[name].frames(pixels)
        assert tuple(found) == parts.outputs
        for output, tensor in zip(parts.outputs, expected, strict=True):
            assert found[output].dtype == np.float32
            np.testing.assert_allclose(found[output], tensor.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("lengths", [[4], [1], [3, 4, 1]])
def test_clips_say_what_the_network_says_whatever_the_padding(
    classifiers: Path, kind: Format, lengths: list[int]
) -> None:
    run = open_faces(read_bundle(classifiers), kind)["clips"].clip
    assert run is not None
    vectors = np.random.default_rng(0).normal(size=(len(lengths), 4, 4)).astype(np.float32)
    clip = tiny_face_parts()["clips"].clip
    assert clip is not None
    with torch.inference_mode():
        expected = clip(torch.from_numpy(vectors), torch.tensor(lengths)).numpy()
    np.testing.assert_allclose(run(vectors, np.array(lengths)), expected, atol=1e-5)
    for row, length in enumerate(lengths):
        vectors[row, length:] = 100
    np.testing.assert_allclose(run(vectors, np.array(lengths)), expected, atol=1e-5)


def test_a_member_without_clips_has_no_network_for_them(classifiers: Path) -> None:
    assert open_faces(read_bundle(classifiers), "onnx")["stills"].clip is None


@pytest.mark.parametrize("kind", FORMATS)
def test_each_function_opens_bundles_of_its_own_task_alone(classifiers: Path, exported: Path, kind: Format) -> None:
    with pytest.raises(SettingsError, match="is a bundle for segmentation, not for classification"):
        open_faces(read_bundle(exported), kind)
    with pytest.raises(SettingsError, match="is a bundle for classification, not for segmentation"):
        open_runtime(read_bundle(classifiers), kind)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["model", "clip"])
def test_an_altered_file_of_either_network_is_not_loaded(tmp_path: Path, kind: Format, name: str) -> None:
    bundle = write_tiny_face_bundle(tmp_path)
    read = read_bundle(bundle)
    path = next((bundle / "members/clips").glob(f"{name}.{'ts' if kind == 'torchscript' else 'onnx'}"))
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(MismatchError, match=path.name):
        open_faces(read, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_network_of_frames_in_the_place_of_one_of_clips_is_refused(tmp_path: Path, kind: Format) -> None:
    read = read_bundle(write_tiny_face_bundle(tmp_path))
    stills, clips = read.document.members
    swapped = clips.model_copy(update={"clip_files": clips.files})
    document = read.document.model_copy(update={"members": (stills, swapped)})
    with pytest.raises(MismatchError, match='"part":"clip"'):
        open_faces(type(read)(document, read.sha256, read.store), kind)
