"""The whole step on faces, through its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from components.train.__main__ import main
from data.index import SPLITS, read_index
from data.shards import ShardReader
from judging.bootstrap import Bootstrap
from media.extraction import ExtractionSpec, FaceSpec, SampleSpec
from models.checkpoint import load_network, read_checkpoint
from tasks.faces.heatmap_models import TrainedHeatmaps
from tasks.faces.heatmaps import evaluate_heatmaps

SPOTTER = {
    "member": "clips",
    "stage": "v3",
    "family": "spotter",
    "model": {"backbone": "test_efficientnet", "weights": "random", "pyramid_channels": 16, "gru_width": 8},
    "input": {"views": {"face": {"size": 64, "margin": 1.0}}, "frames": 3},
    "policy": "faces",
    "sampling": {"balanced": True, "pseudo_fakes": {"probability": 0.3}, "samples_per_epoch": 16},
    "monitor": {"metric": "auc", "max_authentic_fpr": None},
    "batch_size": 4,
    "epochs": 2,
    "workers": 0,
    "device": "cpu",
}


def _train(dataset: Path, folder: Path) -> Path:
    (folder / "recipe.json").write_text(json.dumps(SPOTTER))
    output = folder / "out"
    assert main([f"--dataset={dataset}", f"--recipe={folder / 'recipe.json'}", f"--output={output}"]) == 0
    return output


@pytest.fixture(scope="module")
def trained(tiny_faces, tmp_path_factory) -> Path:
    return _train(tiny_faces, tmp_path_factory.mktemp("faces"))


def test_the_artifact_is_a_classifier_with_the_figures_of_whole_media(trained, tiny_faces):
    document = json.loads((trained / "model.json").read_text())
    assert set(document["metrics"]) == {
        "loss", "auc", "frame_auc", "eer", "threshold", "balanced_accuracy", "authentic_fpr"
    }  # fmt: skip
    loaded = load_network(trained / document["checkpoint"])
    assert loaded.family.task == "faces"
    assert (list(loaded.spec.input.views), loaded.spec.input.frames) == (["face"], 3)
    assert loaded.spec.extraction.faces == read_index(tiny_faces).spec.extraction.faces
    frames = torch.zeros(5, 3, 64, 64)
    assert loaded.network({"face": frames}, torch.tensor([3, 2])).shape == (2, 1)


def test_the_log_counts_clips_and_names_the_loss_of_the_family(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["samples"]) for line in lines] == [(1, 4, 16), (2, 8, 16)]
    assert all(set(line["train"]) == {"loss", "clip", "frame"} for line in lines)
    assert all(0 <= line["val"]["auc"] <= 1 for line in lines)


def test_another_process_trains_the_same_model(trained, tiny_faces, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(SPOTTER))
    command = [sys.executable, "-m", "components.train", f"--dataset={tiny_faces}"]
    command += [f"--recipe={tmp_path / 'recipe.json'}", f"--output={tmp_path / 'out'}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, env=environment, check=True, timeout=500)
    one, other = (read_checkpoint(folder / "clips_v3_best.pth") for folder in (trained, tmp_path / "out"))
    assert one.epoch == other.epoch
    assert all(torch.equal(one.model_state_dict[name], value) for name, value in other.model_state_dict.items())


def test_real_faces_are_split_by_pair_trained_on_and_evaluated(real_media, tmp_path):
    recipe = ExtractRecipe(
        layout="real-fake-frames",
        dataset="faces",
        spec=SampleSpec(extraction=ExtractionSpec(faces=FaceSpec(margin=1.0))),
    )
    extract_frames(str(real_media / "faces"), tmp_path / "index", str(tmp_path / "shards"), recipe, workers=1)
    index = read_index(tmp_path / "index")
    groups = {split: set(index.where(split=split).column("group_id")) for split in SPLITS}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values()))
    output = _train(tmp_path / "index", tmp_path)
    metrics = json.loads((output / "model.json").read_text())["metrics"]
    assert all(np.isfinite(value) for value in metrics.values())
    model = TrainedHeatmaps(load_network(output / "clips_v3_best.pth"), "cpu")
    val, reader = index.where(split="val"), ShardReader(index.shards)
    quick = Bootstrap(resamples=20)
    found = evaluate_heatmaps(model, val, reader, seed=0, count=6, device="cpu", bootstrap=quick)
    assert list(found.figures["maps"]) == ["multi", "single", "centre"]
    assert found.figures["pictures"] == 6
