"""For every member of every recipe that ships: training without augmentation, evaluation and the server see one tensor.

The three start from the same file and go their own ways: extraction, index, shard and data set; the pass over an
index; and the analyzer that a request reaches.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import astronaut, coffee

from bundle.faces.verdict import FaceDecision
from bundle.regions.verdict import OperatingPoint
from bundle.serving import AnalysisOptions
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.settings import Settings
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from media.extraction import ClipFrames, ExtractionSpec, FaceSpec, SampleSpec
from media.spec import InputSpec
from media.tensors import TensorSpec
from models.inputs import Normalize
from models.network import Network
from pipelines.finding import recipe_names
from pipelines.resolution import load_pipeline
from tasks.faces.prediction import FaceMember, predict_media
from tasks.faces.training import FaceDataset
from tasks.regions.prediction import Member, predict_pictures
from tasks.regions.training import PictureDataset
from tests.serving.toys import analyzer, verified, workbench

Tensor = NDArray[np.float32]


def shipped(task: str) -> dict[str, InputSpec]:
    """Return what every member of a task reads in every stage of every recipe that ships, by a telling name."""
    found = {}
    for name in recipe_names():
        for member, stages in load_pipeline(name.partition("/")[0], name).training.items():
            for stage, recipe in stages.items():
                if recipe.parsed_family.task == task:
                    found[f"{name} {member} {stage}"] = recipe.input
    return found


class Recorder(Network):
    """A network that keeps what it is shown."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.seen: list[Tensor] = []

    def forward(self, views: Mapping[str, torch.Tensor], lengths: torch.Tensor | None = None) -> torch.Tensor:
        (pixels,) = views.values()
        self.seen += list(pixels.cpu().numpy())
        return torch.zeros(len(pixels) if lengths is None else len(lengths), *self.shape)


class Server:
    """A run of a bundle's network that keeps what it is given, normalised as the exported graph does."""

    def __init__(self, spec: InputSpec, *shape: int) -> None:
        self.normalize, self.shape = Normalize(spec), shape
        self.seen: list[Tensor] = []

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        (pixels,) = self.normalize({name: torch.from_numpy(array) for name, array in inputs.items()}).values()
        self.seen += list(pixels.numpy())
        return {"logits": np.zeros((len(pixels), *self.shape), dtype=np.float32)}


def ask(task: str, decision: Settings, spec: InputSpec, server: Server, data: bytes, **options: Any) -> None:
    """Let the server's analyzer of a task answer for a picture."""
    outputs = {"logits": TensorSpec(datatype="FP32", shape=server.shape)}
    bundle = verified(task, decision, {"member": spec}, outputs, **options)
    bench = workbench({"member": server})
    asyncio.run(analyzer(bundle, bench).analyze_picture(data, AnalysisOptions(heatmaps=0)))


def in_training(samples: Any, spec: InputSpec, row: int) -> Tensor:
    (pixels,) = Normalize(spec)(dict(samples[row, 0]["views"])).values()
    return pixels.numpy()


@pytest.mark.parametrize("name", sorted(shipped("regions")))
def test_tiles_agree(name: str, tmp_path: Path) -> None:
    """Of pictures as large as a tile and smaller: their one tile is the window that training cuts."""
    spec = shipped("regions")[name]
    size = spec.only.size
    source = tmp_path / "source"
    source.mkdir()
    for number, (picture, side) in enumerate(((astronaut(), (size, size)), (coffee(), (size - 60, size - 13)))):
        scaled = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(source / f"{number}.png"), scaled[..., ::-1])
    recipe = ExtractRecipe.model_validate({"layout": "flat", "dataset": "two", "splits": {"all": "test"}})
    extract_frames(str(source), tmp_path / "index", str(tmp_path / "shards"), recipe, workers=1)
    index = read_index(tmp_path / "index")
    reader, recorder = ShardReader(index.shards), Recorder(1, size, size)
    list(predict_pictures([Member("member", recorder.eval(), spec)], index, reader, device="cpu", batch_size=1))
    samples = PictureDataset(index, reader, "none", spec)
    for number, row in enumerate(index.rows()):
        server = Server(spec, 1, size, size)
        point = OperatingPoint(threshold=0.5, min_area_fraction=0.0)
        ask("regions", point, spec, server, reader.read(row["shard"], row["offset"], row["size"]))
        (trained,) = in_training(samples, spec, number)
        np.testing.assert_array_equal(trained, recorder.seen[number])
        np.testing.assert_array_equal(trained, server.seen[0])
        assert len(server.seen) == 1


@pytest.fixture(scope="module")
def faces(real_media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleIndex]:
    """A clip of a face, and its index, cut as wide as any recipe asks for."""
    folder = tmp_path_factory.mktemp("faces")
    clip = sorted((real_media / "talking_heads").glob("*.mp4"))[0]
    (folder / "source" / "real").mkdir(parents=True)
    (folder / "source" / "real" / "clip.mp4").symlink_to(clip)
    margin = max(view.reach() for spec in shipped("faces").values() for view in spec.views.values())
    extraction = ExtractionSpec(
        decoder="pyav", frames=ClipFrames(clips=2, length=3), faces=FaceSpec(margin=margin), store="png"
    )
    recipe = ExtractRecipe.model_validate(
        {
            "layout": "real-fake-videos",
            "dataset": "one",
            "splits": {"all": "test"},
            "spec": SampleSpec(classes=("real", "manipulated"), extraction=extraction),
        }
    )
    extract_frames(str(folder / "source"), folder / "index", str(folder / "shards"), recipe, workers=1)
    return clip, read_index(folder / "index")


@pytest.mark.parametrize("name", sorted(shipped("faces")))
def test_faces_agree(name: str, faces: tuple[Path, SampleIndex]) -> None:
    clip, index = faces
    spec, reader, recorder = shipped("faces")[name], ShardReader(index.shards), Recorder(1)
    list(predict_media([FaceMember("member", recorder.eval(), spec, clips=False)], index, reader, device="cpu"))
    server = Server(spec, 1)
    outputs = {"logits": TensorSpec(datatype="FP32", shape=(1,))}
    bundle = verified("faces", FaceDecision(threshold=0.5), {"member": spec}, outputs, index.spec.extraction)
    with clip.open("rb") as file:
        options = AnalysisOptions(heatmaps=0)
        asyncio.run(analyzer(bundle, workbench({"member": server})).analyze_video(file, options))
    samples = FaceDataset(index, reader, "none", spec, clips=False)
    trained = np.concatenate([in_training(samples, spec, row) for row in range(len(index))])
    assert len(trained) == len(index) > 1
    np.testing.assert_array_equal(trained, np.stack(recorder.seen))
    np.testing.assert_array_equal(trained, np.stack(server.seen))


@pytest.mark.parametrize("name", sorted(shipped("faces")))
def test_crops_of_others_agree(name: str, tiny_faces: Path) -> None:
    """Crops that exist already are nobody's frame: training and evaluation see one tensor of each."""
    index = read_index(tiny_faces)
    spec, reader, recorder = shipped("faces")[name], ShardReader(index.shards), Recorder(1)
    list(predict_media([FaceMember("member", recorder.eval(), spec, clips=False)], index, reader, device="cpu"))
    samples = FaceDataset(index, reader, "none", spec, clips=False)
    order = np.lexsort([index.column("frame"), index.column("track"), index.column("media_id").astype(str)])
    trained = np.concatenate([in_training(samples, spec, int(row)) for row in order])
    np.testing.assert_array_equal(trained, np.stack(recorder.seen))
