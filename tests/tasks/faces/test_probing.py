from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.faces.verdict import FaceDecision
from data.index import read_index
from data.shards import ShardReader
from media.spec import InputSpec
from media.views.face import FaceView
from tasks.faces.probing import probe
from tasks.faces.settings import FacesExport
from tasks.task import ExportJob


def job_of(dataset: Path, frames: int) -> ExportJob:
    """Return a job of which a probe looks at what the members read alone."""
    index = read_index(dataset)
    spec = InputSpec(views={"face": FaceView(size=64, margin=1.0)}, frames=frames)
    networks: Any = {"a": SimpleNamespace(spec=SimpleNamespace(input=spec))}
    return ExportJob(networks, index.where(split="val"), ShardReader(index.shards), FacesExport())


def model(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Give the mean of each face as logit and as vector, and a corner as heatmap."""
    mean = arrays["face"].mean(axis=(1, 2, 3), dtype=np.float32)[:, None]
    return {"logits": mean, "vectors": mean, "heatmap": arrays["face"][:, :1, :2, :2].astype(np.float32)}


def test_clips_for_the_gate_differ_in_length(tiny_faces: Path) -> None:
    ask = probe(job_of(tiny_faces, 2), "a", FaceDecision(threshold=0.5), 4)
    assert [len(clip["face"]) for clip in ask.clips] == [2, 1, 2, 1]
    assert all(clip["face"].shape[1:] == (3, 64, 64) and clip["face"].dtype == np.uint8 for clip in ask.clips)
    assert ask.cut == pytest.approx(0)


def test_a_network_of_clips_is_asked_by_the_vectors_that_its_frames_give(tiny_faces: Path) -> None:
    ask = probe(job_of(tiny_faces, 3), "a", FaceDecision(threshold=0.9), 4)

    def clip(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        assert arrays["vectors"].shape == (2, 3, 1)
        return {"logits": (arrays["vectors"].sum(axis=1) / arrays["lengths"][:, None]).astype(np.float32)}

    outputs = ask({"model": model, "clip": clip}, 2)
    assert {name: values.shape for name, values in outputs.items()} == {
        "logits": (2, 1), "heatmap": (2, 1, 2, 2), "clip": (2, 1)
    }  # fmt: skip
    faces = np.stack([ask.clips[0]["face"][0], ask.clips[1]["face"][1]])
    np.testing.assert_allclose(outputs["logits"], model({"face": faces})["logits"])
    means = [model(one)["logits"].mean() for one in ask.clips[:2]]
    np.testing.assert_allclose(outputs["clip"][:, 0], means, rtol=1e-5)
    assert set(ask({"model": lambda arrays: {"logits": model(arrays)["logits"]}}, 4)) == {"logits"}
