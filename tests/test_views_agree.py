"""For every member of every recipe that ships: training without augmentation, evaluation and the server see one tensor.

The three start from the same file and go their own ways: extraction, index, shard and data set; the pass over an
index; and the analyzer that a request reaches.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import astronaut, coffee

from bundle.faces.documents import FaceOptions
from bundle.faces.verdict import FaceDecision
from bundle.regions.analysis import tiles_view
from bundle.regions.verdict import OperatingPoint
from bundle.task import BUNDLE_TASKS
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.settings import Settings
from data.datasets import ViewCutter
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from data.stored import picture_span
from media.extraction import ClipFrames, DetectorSpec, ExtractionSpec, FaceSpec, SampleSpec
from media.faces import FaceDetector, FacesFound, faces_of_picture, faces_of_video
from media.pictures import encode_png
from media.spec import InputSpec
from media.tensors import TensorSpec
from media.view import StoredSample
from models.inputs import Normalize
from models.network import Network
from pipelines.finding import recipe_names
from pipelines.resolution import load_pipeline
from tasks.faces.prediction import FaceMember, predict_media
from tasks.faces.training import FaceDataset
from tasks.regions.prediction import Member, predict_pictures
from tasks.regions.training import PictureDataset
from tests.serving.toys import LOGITS, analyzer, verified, workbench

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
        self.windows: list[Tensor] = []

    def forward(self, views: Mapping[str, torch.Tensor], lengths: torch.Tensor | None = None) -> torch.Tensor:
        (pixels,) = views.values()
        if lengths is None:
            self.seen += list(pixels.cpu().numpy())
        else:
            self.windows += [window.numpy() for window in pixels.split(lengths.tolist())]
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
    asyncio.run(analyzer(bundle, bench).analyze_picture(data, BUNDLE_TASKS.get(task).served.options()))


def in_training(samples: Any, spec: InputSpec, row: int) -> Tensor:
    (pixels,) = Normalize(spec)(dict(samples[row, 0]["views"])).values()
    return pixels.numpy()


WHOLE = {"whole": InputSpec.model_validate({"views": {"whole": {"size": 512}}})}


@pytest.mark.parametrize("name", sorted(shipped("regions") | WHOLE))
def test_pictures_agree(name: str, tmp_path: Path) -> None:
    """Of pictures as large as a tile and smaller: their one tile is the window that training cuts."""
    spec = (shipped("regions") | WHOLE)[name]
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
        ask("regions", point, spec, server, reader.read(row["shard"], picture_span(row))[0])
        (trained,) = in_training(samples, spec, number)
        np.testing.assert_array_equal(trained, recorder.seen[number])
        np.testing.assert_array_equal(trained, server.seen[0])
        assert len(server.seen) == 1


SQUARE = 8  # px of the board's squares


def board(height: int, width: int) -> StoredSample:
    """Return a picture of squares, and a mask that marks every other one."""
    rows, columns = np.arange(height)[:, None] // SQUARE, np.arange(width)[None] // SQUARE
    mask = (rows + columns) % 2 == 0
    return StoredSample(np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2), mask)


def scale(mask: NDArray[np.bool_]) -> float:
    """Return px of an input per px of the board that it shows, the geometric mean of both directions."""
    edges = [np.median(np.count_nonzero(np.diff(mask.astype(np.int8), axis=axis), axis=axis)) for axis in (0, 1)]
    return float(np.sqrt(np.prod([side / (SQUARE * count) for side, count in zip(mask.shape, edges, strict=True)])))


@pytest.mark.parametrize("policy", ["forgery", "enhanced", "native"])
@pytest.mark.parametrize("view", ["tiles", "whole"])
def test_training_shows_pictures_at_the_scale_that_is_judged(policy: str, view: str) -> None:
    """In the median; of a picture several times larger than the network's input."""
    spec = InputSpec.model_validate({"views": {view: {"size": 256}}})
    picture = board(1500, 2000)
    shown, _ = tiles_view(spec).tiles(picture.rgb)
    judged = scale(shown[0][0] > 127)
    cutter = ViewCutter(spec, policy)
    trained = [scale(cutter.cut(picture, seed).masks[view]) for seed in range(60)]
    # The published crop of the scaled picture shows 0.85 of its area in the median, so it is a little larger.
    published = 0.85**-0.5 if view == "whole" and policy != "native" else 1.0
    assert np.median(trained) / judged == pytest.approx(published, abs=0.04)


def test_the_published_view_is_a_member_of_its_own() -> None:
    assert {spec.only.name for spec in shipped("regions").values()} == {"tiles"}
    recipe = load_pipeline("forgery", "forgery/published", ["members={whole_picture: {}}"])
    assert [stage.input.only.name for stage in recipe.training["whole_picture"].values()] == ["whole", "whole"]


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
        options = FaceOptions(heatmaps=0)
        asyncio.run(analyzer(bundle, workbench({"member": server})).analyze_video(file, options))
    samples = FaceDataset(index, reader, "none", spec, clips=False)
    trained = np.concatenate([in_training(samples, spec, row) for row in range(len(index))])
    assert len(trained) == len(index) > 1
    np.testing.assert_array_equal(trained, np.stack(recorder.seen))
    np.testing.assert_array_equal(trained, np.stack(server.seen))


class ClipServer(Server):
    """A run whose vectors are the pixels themselves, and of the network of clips that keeps its windows."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec, 1)
        self.windows: list[Tensor] = []

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        outputs = super().__call__(inputs)
        return {**outputs, "vectors": np.stack([one.ravel() for one in self.seen[-len(outputs["logits"]) :]])}

    def clip(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        clips = zip(inputs["vectors"], inputs["lengths"], strict=True)
        self.windows += [vectors[:length].reshape(length, *self.seen[0].shape) for vectors, length in clips]
        return {"logits": np.zeros((len(inputs["lengths"]), 1), np.float32)}


@pytest.mark.parametrize("missed", [None, 1], ids=["all found", "a face missed"])
@pytest.mark.parametrize("length", [2, 4])
def test_windows_agree(
    length: int, missed: int | None, faces: tuple[Path, SampleIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs of three frames, longer and shorter than a window, where a face may be missed in the second."""
    clip, index = faces
    rows = sorted(index.rows(), key=lambda row: (row["run"], row["frame"]))
    lost = None if missed is None else rows[3 + missed]["frame"]
    left = [row for row in rows if row["frame"] != lost]
    index = replace(index, table=index.table.from_pylist(left, schema=index.table.schema))
    spec, reader = InputSpec(views={"face": {"size": 32, "margin": 1.3}}, frames=length), ShardReader(index.shards)

    recorder = Recorder(1)
    list(predict_media([FaceMember("member", recorder.eval(), spec, clips=True)], index, reader, device="cpu"))
    assert len(recorder.seen) == len(left)  # each frame by itself too
    whole = [3, 3] if missed is None else [3, 1, 1]
    parts = [[min(length, run - start) for start in range(0, run, length)] for run in whole]
    assert [len(window) for window in recorder.windows] == [part for run in parts for part in run]
    np.testing.assert_array_equal(np.concatenate(recorder.windows), np.stack(recorder.seen))

    server = ClipServer(spec)
    decision, extraction = FaceDecision(threshold=0.5), index.spec.extraction
    bundle = verified("faces", decision, {"member": spec}, LOGITS, extraction, vectors=3 * 32 * 32)

    def without_the_lost(*arguments: Any, **more: Any) -> FacesFound:
        found = faces_of_video(*arguments, **more)
        return replace(found, crops=tuple(crop for crop in found.crops if crop.frame != lost))

    monkeypatch.setattr("bundle.faces.search.faces_of_video", without_the_lost)
    with clip.open("rb") as file:
        bench = workbench({"member": server}, {"member": server.clip})
        asyncio.run(analyzer(bundle, bench).analyze_video(file, FaceOptions(heatmaps=0)))
    for served, judged in zip(server.windows, recorder.windows, strict=True):
        np.testing.assert_array_equal(served, judged)

    samples, trained = FaceDataset(index, reader, "none", spec, clips=True), set()
    runs = np.split(np.stack(recorder.seen), np.cumsum(whole)[:-1])
    for seed in range(150):
        pixels = Normalize(spec)(dict(samples[0, seed]["views"]))["face"].numpy()
        trained.add(pixels.tobytes())
    allowed = {
        run[start:end].tobytes()
        for run in runs
        for start in range(len(run))
        for end in range(start + 1, min(len(run), start + length) + 1)
    }
    assert trained == allowed


@pytest.mark.parametrize("name", sorted(shipped("faces")))
def test_crops_of_others_agree(name: str, tiny_faces: Path) -> None:
    """Crops that exist already, several of a clip: training and evaluation see one tensor of each."""
    index = read_index(tiny_faces)
    spec, reader, recorder = shipped("faces")[name], ShardReader(index.shards), Recorder(1)
    list(predict_media([FaceMember("member", recorder.eval(), spec, clips=False)], index, reader, device="cpu"))
    samples = FaceDataset(index, reader, "none", spec, clips=False)
    order = np.lexsort([index.column("frame"), index.column("track"), index.column("media_id").astype(str)])
    trained = np.concatenate([in_training(samples, spec, int(row)) for row in order])
    np.testing.assert_array_equal(trained, np.stack(recorder.seen))


@pytest.mark.parametrize("name", sorted(shipped("faces")))
def test_crops_of_others_agree_with_what_the_server_cuts(name: str, tmp_path: Path) -> None:
    """Whoever cut the crops that a network learned from: the server cuts the same out of the whole picture."""
    spec = shipped("faces")[name]
    view, picture = spec.only, np.ascontiguousarray(astronaut())
    extraction = ExtractionSpec(faces=FaceSpec(margin=view.reach()))
    assert view.require(extraction) == ""
    (found,) = faces_of_picture(picture, FaceSpec(margin=view.reach()), FaceDetector(DetectorSpec())).crops
    cropped = view.crop(found.sample)  # the square around the face with its margin, in the size that others give it
    (tmp_path / "source/real").mkdir(parents=True)
    (tmp_path / "source/real/a_0.png").write_bytes(encode_png(cropped.rgb))
    recipe = ExtractRecipe.model_validate(
        {
            "layout": "real-fake-frames",
            "dataset": "one",
            "splits": {"all": "test"},
            "spec": {"extraction": extraction.model_dump()},
        }
    )
    extract_frames(str(tmp_path / "source"), tmp_path / "index", str(tmp_path / "shards"), recipe, workers=1)
    index = read_index(tmp_path / "index")
    reader, recorder, server = ShardReader(index.shards), Recorder(1), Server(spec, 1)
    list(predict_media([FaceMember("member", recorder.eval(), spec, clips=False)], index, reader, device="cpu"))
    ask("faces", FaceDecision(threshold=0.5), spec, server, encode_png(picture), extraction=extraction)
    trained = in_training(FaceDataset(index, reader, "none", spec, clips=False), spec, 0)
    assert len(trained) == 1
    np.testing.assert_array_equal(trained, np.stack(recorder.seen))
    np.testing.assert_array_equal(trained, np.stack(server.seen))
