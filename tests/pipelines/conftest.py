"""Pictures for whole small runs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from core.storage import join, open_store
from media.forging.folder import forge_folder
from media.forging.settings import ForgeRequest, ForgeSettings
from media.pictures import encode_png
from pipelines.demo.photographs import copy_photographs


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forgeries and authentic pictures of at most 128 px, made from the photographs of scikit-image."""
    folder = tmp_path_factory.mktemp("pictures")
    photographs = copy_photographs(folder / "photographs")
    request = ForgeRequest(seed=5, per_photo=2, authentic_per_photo=2, cluster=1, settings=ForgeSettings(max_side=128))
    forge_folder(photographs, folder / "made", request)
    return folder / "made"


@pytest.fixture
def uploaded(bucket: str, pictures: Path) -> str:
    """URI of the pictures in S3."""
    return _upload(pictures, join(bucket, "pictures"))


def _upload(folder: Path, source: str) -> str:
    uploads = open_store(source)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        uploads.upload(path, path.relative_to(folder).as_posix())
    return source


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of the layout real-fake-frames, 8 pairs of "clips" of 2 frames of 64 px each, from photographs."""
    folder = tmp_path_factory.mktemp("faces")
    for name, photograph in (("first", data.astronaut()), ("second", data.coffee())):
        for part in ("real", "manipulated"):
            (folder / name / part).mkdir(parents=True)
        for number in range(8):
            top, left = 64 * (number // 4), 96 * (number % 4)
            for frame in range(2):
                rgb = np.ascontiguousarray(photograph[top : top + 64, left + frame : left + frame + 64])
                fake = rgb.copy()
                cv2.ellipse(fake, (32, 32), (12, 16), 0, 0, 360, (255 - 20 * number, 60, 60 + 20 * number), -1)
                (folder / name / f"real/{number:02d}_{frame}.png").write_bytes(encode_png(rgb))
                (folder / name / f"manipulated/{number:02d}_x{number:02d}_{frame}.png").write_bytes(encode_png(fake))
    return folder


@pytest.fixture
def uploaded_faces(bucket: str, faces: Path) -> str:
    """URI of the faces in S3."""
    return _upload(faces, join(bucket, "faces"))
