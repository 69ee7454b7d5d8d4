import json
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from bench.face_bundles import write_tiny_face_bundle
from bundle.__main__ import main
from media.pictures import decode_mask_png, encode_png


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)))
    return path


def test_verify_names_the_bundle(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(exported)]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"]["name"] == "tiny"


def test_verify_fails_on_one_altered_byte_and_names_the_file(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle / "members" / "ela" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main(["verify", str(bundle)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "members/ela/model.onnx" in printed.err


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_judge_prints_the_verdict_and_writes_the_mask(
    exported: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], runtime: str
) -> None:
    mask = tmp_path / "mask.png"
    assert main(["judge", str(exported), str(picture), "--runtime", runtime, "--mask", str(mask)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] in {"forged", "authentic"}
    forged = decode_mask_png(mask.read_bytes())
    assert forged.shape == (48, 80)
    assert forged.mean() == pytest.approx(answer["forged_fraction"], abs=1e-6)


def test_a_picture_that_is_none_is_an_error_in_words(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert main(["judge", str(exported), str(broken)]) == 1
    assert main(["judge", str(exported), str(tmp_path / "absent.png")]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_face_bundle(tmp_path_factory.mktemp("faces"))


def test_judge_finds_and_judges_the_face_in_a_picture(
    classifiers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "astronaut.png").write_bytes(encode_png(data.astronaut()))
    assert main(["judge", str(classifiers), str(tmp_path / "astronaut.png")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], len(answer["faces"])) == ("judged", 1)
    assert answer["verdict"] == ("manipulated" if answer["probability"] >= answer["threshold"] else "authentic")
    assert [member["name"] for member in answer["members"]] == ["stills", "clips"]


def test_judge_says_so_where_there_is_no_face(
    classifiers: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(classifiers), str(picture)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["verdict"], answer["probability"]) == ("no_face", None, None)
    assert main(["judge", str(classifiers), str(picture), "--mask", str(tmp_path / "mask.png")]) == 1
    assert "--mask: a bundle of the task faces has no such option" in capsys.readouterr().err
