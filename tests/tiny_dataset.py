"""A data set and a recipe small enough to train on in a second, made from photographs that scikit-image ships."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe, NearDuplicates
from data.splits import SplitSettings
from media.extraction import ExtractionSpec, FaceSpec, SampleSpec
from media.pictures import encode_png

SIDE = 96  # px
SPLITS = {"train": 12, "val": 6, "test": 6}  # pictures, every other one forged


def _crops() -> list[np.ndarray]:
    """Return 24 pictures, uint8 [96, 96, 3], which share no pixel."""
    return [
        np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])
        for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
        for top in (0, SIDE)
        for left in (0, 2 * SIDE, SIDE)
    ]


def _forge(target: np.ndarray, donor: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Paste an ellipse of ``donor`` into ``target``; return picture and mask, its area between 1 and 6 %."""
    mask = np.zeros(target.shape[:2], dtype=np.uint8)
    axes = (4 + 4 * (number % 4), 4 + 3 * (number % 3))
    cv2.ellipse(mask, (30 + 7 * (number % 5), 40 + 5 * (number % 4)), axes, 15 * number, 0, 360, 1, -1)
    forged = target.copy()
    forged[mask == 1] = donor[mask == 1]
    return forged, mask.astype(bool)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder of 24 pictures of 96×96 px with their shards: half forged, 12 train, 6 val, 6 test."""
    folder = tmp_path_factory.mktemp("tiny")
    source = folder / "source"
    for part in ("images/none", "images/paste", "masks/none", "masks/paste"):
        (source / part).mkdir(parents=True)
    crops = _crops()
    names = [f"{number:02d}" for number in range(len(crops))]
    order = np.random.default_rng(0).permutation(len(crops))  # so that each split sees all four photographs
    for number, place in enumerate(order):
        rgb, mask, name = crops[place], np.zeros((SIDE, SIDE), dtype=bool), f"none/{names[number]}.png"
        if number % 2:
            rgb, mask = _forge(rgb, crops[place - 1], number)
            name = f"paste/{names[number]}.png"
        (source / "images" / name).write_bytes(encode_png(rgb))
        (source / "masks" / name).write_bytes(encode_png(mask))
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    (folder / "splits.json").write_text(json.dumps(dict(zip(names, splits, strict=True))))
    recipe = ExtractRecipe(
        layout="images-masks",
        dataset="skimage",
        splits=SplitSettings(file=str(folder / "splits.json")),
        near_duplicates=NearDuplicates(distance=None),
    )
    extract_frames(str(source), folder / "index", str(folder / "shards"), recipe, workers=1)
    return folder / "index"


@pytest.fixture
def tiny_recipe() -> dict[str, Any]:
    """A training recipe as a dictionary, the test's own to change: two epochs of three steps of four samples."""
    return {
        "member": "tiny",
        "stage": "v3",
        "family": "forgery",
        "model": {
            "encoder": "tu-test_efficientnet",
            "weights": "random",
            "gate": "logit",
            "pyramid_channels": 32,
            "segmentation_channels": 32,
        },
        "input": {"views": {"tiles": {"size": 64, "overlap": 16}}},
        "monitor": {"metric": "f1"},
        "policy": "native",
        "batch_size": 4,
        "epochs": 2,
        "optimizer": {"lr": 0.003},
        "workers": 0,
        "device": "cpu",
        "seed": 1,
    }


FRAMES = 3  # of every clip of tiny_faces


@pytest.fixture(scope="session")
def tiny_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder of 24 clips of 3 "faces" of 96×96 px: 12 train, 6 val, 6 test, every other one manipulated.

    The layout is ``real-fake-frames``; each real clip and the manipulated one made from it are one group.
    """
    folder = tmp_path_factory.mktemp("tiny_faces")
    source = folder / "source"
    crops = _crops()
    order = np.random.default_rng(0).permutation(len(crops) // 2)
    for part in ("real", "manipulated"):
        (source / part).mkdir(parents=True)
    for number, place in enumerate(order):
        for frame in range(FRAMES):
            rgb = np.roll(crops[2 * place], 2 * frame, axis=1)  # something moves
            forged, _ = _forge(rgb, crops[2 * place + 1], number)
            (source / "real" / f"{number:02d}_{frame}.png").write_bytes(encode_png(rgb))
            (source / "manipulated" / f"{number:02d}_x{number:02d}_{frame}.png").write_bytes(encode_png(forged))
    recipe = ExtractRecipe(
        layout="real-fake-frames",
        dataset="skimage",
        splits=SplitSettings(fractions={"train": 0.5, "val": 0.25, "test": 0.25}),
        spec=SampleSpec(extraction=ExtractionSpec(faces=FaceSpec(margin=1.0))),
    )
    extract_frames(str(source), folder / "index", str(folder / "shards"), recipe, workers=1)
    return folder / "index"


@pytest.fixture(scope="session")
def make_face_model(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the checkpoint of a small ``spotter`` or ``genconvit`` for ``tiny_faces``; each is made once."""
    from bench.face_models import write_face_model  # torch is for those alone who ask for a model

    folder = tmp_path_factory.mktemp("face_models")
    made: dict[tuple[str, str, int], Path] = {}

    def make(family: str, stage: str = "first", seed: int = 0) -> Path:
        key = (family, stage, seed)
        if key not in made:
            made[key] = write_face_model(folder / f"{seed}", tiny_faces, family, stage, seed)
        return made[key]

    return make
