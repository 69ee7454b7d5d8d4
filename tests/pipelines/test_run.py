"""A whole small run on this machine, with pictures, shards, training state and releases in a real S3 store."""

import builtins
import json
from pathlib import Path

import pytest

from bundle import fetch_release, open_networks, read_pointer
from bundle.regions.analysis import analyze_picture
from core.storage import join, open_store
from media.pictures import decode_picture
from pipelines import local
from pipelines.__main__ import main
from pipelines.demo.logs import task_folders, task_seconds

RECIPE = Path(__file__).with_name("tiny.yaml")


@pytest.mark.s3
def test_pictures_in_s3_become_a_published_bundle_that_judges(
    bucket: str, pictures: Path, uploaded: str, tmp_path: Path
) -> None:
    store = join(bucket, "store")
    printer = builtins.print

    artifacts = local.run("forgery", str(RECIPE), uploaded, tmp_path / "run", store=store, members=["high_recall"])

    assert builtins.print is printer
    names = [folder.name for folder in task_folders(artifacts)]
    assert names == ["extract-frames", "train", "sweep-hard-negatives", "train-2", "export", "evaluate", "publish"]
    assert all(seconds > 0 for seconds in task_seconds(artifacts, artifacts.stat().st_ctime - 600).values())
    keys = [info.key for info in open_store(store).list()]
    assert any(key.startswith("shards/") and key.endswith(".tar") for key in keys)
    assert sum(key.endswith("/high_recall_v3/finished.json") for key in keys) == 1
    assert sum(key.endswith("/high_recall_v4/finished.json") for key in keys) == 1

    metrics = json.loads((next(artifacts.rglob("evaluation")) / "metrics.json").read_text())
    assert list(metrics["groups"]) == ["v3", "bundle"]
    pointer = read_pointer(store, "tiny")
    assert pointer is not None
    bundle = fetch_release(store, "tiny", tmp_path / "bundle")
    assert bundle.sha256 == pointer[0].bundle_sha256 == metrics["bundle"]["sha256"]
    assert [member.name for member in bundle.document.members] == ["high_recall"]
    picture = decode_picture(next((pictures / "train_images/forged").iterdir()).read_bytes())
    verdict = analyze_picture(picture, bundle.document, open_networks(bundle, "onnx"))
    assert verdict.probability.shape == picture.shape[:2]
    assert 0 <= verdict.verdict.score <= 1


def test_a_step_that_fails_names_the_pipeline_and_where_its_artifacts_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    command = ["run", "forgery", "--recipe", str(RECIPE), "--source", str(tmp_path / "empty")]
    assert main([*command, "--workspace", str(tmp_path / "run")]) == 1
    output = capfd.readouterr()
    assert "error: pipeline forgery stopped" in output.err
    assert str(tmp_path / "run/artifacts") in output.err
    assert "does not exist or holds nothing" in output.out + output.err
