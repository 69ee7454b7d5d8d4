"""Small layouts made from photographs that scikit-image ships, and what reads an extraction back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from components.extract_frames.chunk import Job
from components.extract_frames.plan import Plan
from components.extract_frames.recipe import ExtractRecipe
from data.entries.entry import Entry

SIDE = 64  # px


@pytest.fixture(scope="session")
def crops() -> list[np.ndarray]:
    """Distinct pictures, uint8 [64, 64, 3]; those too flat to be told from others are left out."""
    found = []
    for picture in (
        data.astronaut(),
        data.chelsea(),
        data.coffee(),
        data.rocket(),
        data.retina(),
        data.immunohistochemistry(),
    ):
        for top in range(0, picture.shape[0] - SIDE, SIDE):
            for left in range(0, picture.shape[1] - SIDE, SIDE):
                crop = np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])
                if crop.std() > 25:
                    found.append(crop)
    return found


def write_picture(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[:, :, ::-1])


@pytest.fixture
def lay(crops: list[np.ndarray]) -> Callable[..., Path]:
    """A function that lays ``count`` authentic pictures and as many forgeries of others out under a folder."""

    def make(root: Path, count: int = 12) -> Path:
        for number in range(count):
            write_picture(root / f"train_images/authentic/a{number:03}.png", crops[2 * number])
            forged, mask = crops[2 * number + 1].copy(), np.zeros((2, SIDE, SIDE), bool)
            side = 4 + 3 * (number % 8)
            forged[2 : 2 + side, 2 : 2 + side] = crops[2 * number][-side:, -side:]
            mask[number % 2, 2 : 2 + side, 2 : 2 + side] = True
            extension = "jpg" if number % 3 == 0 else "png"
            write_picture(root / f"train_images/forged/f{number:03}.{extension}", forged)
            (root / "train_masks").mkdir(exist_ok=True)
            np.save(root / f"train_masks/f{number:03}.npy", mask if number % 2 else mask.any(axis=0))
        return root

    return make


@pytest.fixture
def recipe() -> Callable[..., ExtractRecipe]:
    def make(layout: str = "forged-authentic-masks", **settings: Any) -> ExtractRecipe:
        return ExtractRecipe(layout=layout, dataset="made", **settings)

    return make


@pytest.fixture
def rejected() -> Callable[[Path], dict[str, str]]:
    """A function that reads ``rejected.jsonl`` as reason by name."""

    def read(output: Path) -> dict[str, str]:
        lines = [json.loads(line) for line in (output / "rejected.jsonl").read_text("ascii").splitlines()]
        assert all(set(line) == {"name", "reason", "detail"} and line["detail"] for line in lines)
        assert [line["name"].encode() for line in lines] == sorted(line["name"].encode() for line in lines)
        return {line["name"]: line["reason"] for line in lines}

    return read


@pytest.fixture
def everything() -> Callable[[Path, Path], dict[str, bytes]]:
    """A function that reads all bytes that an extraction wrote, index and shards."""

    def read(output: Path, shards: Path) -> dict[str, bytes]:
        files = [output / name for name in ("index.parquet", "spec.json", "rejected.jsonl", "report.html")]
        return {path.name: path.read_bytes() for path in [*files, *sorted(shards.iterdir())]}

    return read


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the chunks that are given to workers."""
    given: list[str] = []
    make = Plan.job

    def noting(plan: Plan, name: str, entries: tuple[Entry, ...], folder: Path) -> Job:
        given.append(name)
        return make(plan, name, entries, folder)

    monkeypatch.setattr(Plan, "job", noting)
    return given
