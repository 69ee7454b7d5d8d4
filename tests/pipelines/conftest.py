"""Pictures for whole small runs."""

from pathlib import Path

import pytest

from media.forging.folder import forge_folder
from media.forging.settings import ForgeRequest, ForgeSettings
from media.storage import join, open_store
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
    source = join(bucket, "pictures")
    uploads = open_store(source)
    for path in sorted(path for path in pictures.rglob("*") if path.is_file()):
        uploads.upload(path, path.relative_to(pictures).as_posix())
    return source
