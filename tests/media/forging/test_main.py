import json

import pytest

from media.forging.__main__ import main


def test_a_folder_is_forged_with_only_the_kinds_asked_for(photo_folder, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--per-photo", "1", "--seed", "3", "--kinds", "copy-move", "removal", "--max-side", "160"]
    assert main(["--photos", str(photo_folder), "--output", str(out), "--workers", "1", *options]) == 0
    assert "6 forged" in capsys.readouterr().out
    kinds = {json.loads(line)["recipe"]["kind"] for line in (out / "provenance.jsonl").read_text().splitlines()}
    assert kinds <= {"copy-move", "removal", "authentic"}
    assert json.loads((out / "forging.json").read_text())["request"]["settings"]["max_side"] == 160


def test_a_request_file_is_read_and_overridden(photo_folder, tmp_path):
    request = tmp_path / "request.yaml"
    request.write_text("seed: 4\nper_photo: 2\nauthentic_per_photo: 0\n")
    out = tmp_path / "out"
    options = ["--request", str(request), "--per-photo", "1", "--workers", "1"]
    assert main(["--photos", str(photo_folder), "--output", str(out), *options]) == 0
    written = json.loads((out / "forging.json").read_text())["request"]
    assert (written["seed"], written["per_photo"], written["authentic_per_photo"]) == (4, 1, 0)
    assert len(list((out / "train_images/forged").iterdir())) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--photos", "nowhere"], "no photographs"),
        (["--per-photo", "0"], "per_photo"),
        (["--max-side", "10"], "max_side"),
        (["--request", "missing.yaml"], "missing.yaml"),
    ],
)
def test_errors_are_one_explained_line(photo_folder, tmp_path, capsys, options, message):
    base = ["--photos", str(photo_folder), "--output", str(tmp_path / "out"), "--workers", "1"]
    assert main(base + options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error
