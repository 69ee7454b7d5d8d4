"""Photographs that ship with scikit-image, made small."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from media.forging import ForgeSettings
from media.forging.settings import EdgeSettings, ProcessingSettings
from media.pictures import encode_png

SIDE = 220


def _small(name: str) -> NDArray[np.uint8]:
    rgb = getattr(data, name)()
    factor = SIDE / max(rgb.shape[:2])
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@pytest.fixture(scope="session")
def photos() -> dict[str, NDArray[np.uint8]]:
    """Four small photographs by name."""
    return {name: _small(name) for name in ("astronaut", "chelsea", "coffee", "rocket")}


@pytest.fixture
def photo_folder(tmp_path: Path, photos: dict[str, NDArray[np.uint8]]) -> Path:
    """A folder with six pictures: the four, one of them twice more as JPEG of another name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, rgb in photos.items():
        (folder / f"{name}.png").write_bytes(encode_png(rgb))
    for name in ("cat", "drink"):
        source = photos["chelsea" if name == "cat" else "coffee"]
        cv2.imwrite(str(folder / f"{name}.jpg"), cv2.cvtColor(source, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture(scope="session")
def bare() -> ForgeSettings:
    """Settings that paste exactly: no processing, no resampling, hard edges, nothing adapted."""
    return ForgeSettings(
        history=ProcessingSettings(untouched=1.0),
        finish=ProcessingSettings(untouched=1.0),
        rigid_probability=1.0,
        flip_probability=0.0,
        second_probability=0.0,
        colour_match_probability=0.0,
        noise_match_probability=0.0,
        retouch_probability=0.0,
        heal_probability=0.0,
        edge=EdgeSettings(antialiased=0.0, feathered=0.0, blur_probability=0.0),
    )
