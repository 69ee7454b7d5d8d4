"""A whole small run of the deepfake graph on this machine, with faces, shards and releases in a real S3 store."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bundle import fetch_release, open_networks, read_pointer
from bundle.faces.analysis import analyze_faces
from core.storage import join, open_store
from media.pictures import decode_picture
from media.view import StoredSample
from pipelines import local
from pipelines.demo.logs import task_folders

RECIPE = Path(__file__).with_name("tiny_faces.yaml")


@pytest.mark.s3
def test_faces_in_s3_become_a_published_bundle_that_judges(
    bucket: str, faces: Path, uploaded_faces: str, tmp_path: Path
) -> None:
    store = join(bucket, "store")
    artifacts = local.run(
        "deepfake", str(RECIPE), uploaded_faces, tmp_path / "run", store=store, members=["spotter_lite"]
    )
    names = [folder.name for folder in task_folders(artifacts)]
    assert sum(name.startswith("extract-frames") for name in names) == 4  # two shares, and the whole of each data set
    assert names[-5:] == ["train", "train-2", "export", "evaluate", "publish"]
    keys = [info.key for info in open_store(store).list()]
    assert any(key.startswith("chunks/first/") for key in keys)
    assert any(key.startswith("shards/") and key.endswith(".tar") for key in keys)
    indexes = {key.split("/")[1] for key in keys if key.startswith("indexes/")}
    assert indexes == {"first", "second"}  # what the evaluation reads by address
    assert {key.split("/")[1] for key in keys if key.startswith("models/")} == {"spotter_lite_one"}
    assert (
        sum(key.endswith(("/spotter_lite_one/finished.json", "/spotter_lite_two/finished.json")) for key in keys) == 2
    )

    metrics = json.loads((next(artifacts.rglob("evaluation")) / "metrics.json").read_text())
    assert list(metrics["groups"]) == ["one", "bundle"]
    assert list(metrics["datasets"]) == ["second", "first"]  # the last stage's comes first: releases are judged by it
    pointer = read_pointer(store, "tiny-faces")
    assert pointer is not None
    ensemble = metrics["groups"]["bundle"]["ensemble"]
    assert pointer[0].figures.values["auc"] == ensemble["datasets"]["second"]["video"]["auc"]

    bundle = fetch_release(store, "tiny-faces", tmp_path / "bundle")
    assert bundle.sha256 == pointer[0].bundle_sha256
    crops = [
        SimpleNamespace(track=0, run=0, frame=frame, sample=StoredSample(decode_picture(path.read_bytes())))
        for frame, path in enumerate(sorted((faces / "second/real").glob("00_*.png")))
    ]
    verdict = analyze_faces(SimpleNamespace(crops=crops), bundle.document, open_networks(bundle, "onnx"))
    assert verdict.outcome == "judged"
    assert len(verdict.tracks[0].frames) == 2
