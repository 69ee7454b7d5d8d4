"""The real server on a tiny bundle, as a process and as an application in this one."""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from skimage import data
from starlette.testclient import TestClient

from bench.bundles import write_tiny_bundle
from bench.face_bundles import write_tiny_face_bundle
from bundle import BUNDLE_FILE, Figures, Pointer, read_bundle
from core.storage import open_store
from serving.app import create_app
from serving.process import ServerProcess
from serving.service import Service
from serving.settings import ServerSettings
from tests.clips import portrait as make_portrait
from tests.clips import write_clip


def make_picture(width: int = 70, height: int = 50, kind: str = "JPEG", seed: int = 0) -> bytes:
    """A smooth colourful picture as the bytes of a file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    pixels = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes picture files: ``picture(width, height, "PNG", seed)``."""
    return make_picture


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Makes clips of 25 frames a second, with a face or without: ``clip(frames, face=False, side=64, kind="mkv")``."""
    folder = tmp_path_factory.mktemp("clips")

    def make(frames: int = 24, *, face: bool = True, side: int = 192, kind: str = "mp4") -> bytes:
        pictures = [
            make_portrait(number) if face else data.coffee()[:192, number : number + 192] for number in range(frames)
        ]
        scaled = [np.asarray(cv2.resize(picture, (side, side))) for picture in pictures]
        options = {"preset": "ultrafast", "g": "12"}
        return write_clip(folder / f"clip.{kind}", scaled, options=options).read_bytes()

    return make


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A photograph of one face as the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(make_portrait(0, side=256)).save(stream, "PNG")
    return stream.getvalue()


def publish_release(root: str, bundle: Path) -> None:
    """Put a bundle where the publish step puts releases, with the pointer to it."""
    store = open_store(root)
    verified = read_bundle(bundle)
    folder = f"releases/tiny/{verified.document.version}"
    for path in bundle.rglob("*"):
        if path.is_file():
            store.upload(path, f"{folder}/{path.relative_to(bundle).as_posix()}")
    values = {"f1": 1.0, "authentic_fpr": 0.0, "robustness": 1.0}
    task = verified.document.task
    figures = Figures(task=task, values=values, dataset_sha256="0" * 64, degradations=("noise",))
    pointer = Pointer(
        name="tiny",
        version=verified.document.version,
        bundle_sha256=verified.sha256,
        figures=figures,
        evaluation_sha256="0" * 64,
    )
    store.write("releases/tiny/current.json", pointer.model_dump_json().encode())


@pytest.fixture(scope="session")
def publish() -> Callable[[str, Path], None]:
    """Publishes the bundle of a folder: ``publish("s3://bucket", folder)``."""
    return publish_release


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle with two tiny members, ``colour`` and ``ela``; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def face_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of two tiny classifiers of faces, ``stills`` and ``clips``; not to be changed."""
    return write_tiny_face_bundle(tmp_path_factory.mktemp("faces"))


def copy_with(bundle: Path, folder: Path, **changes: object) -> Path:
    """Copy a bundle into a folder, with other values in its document."""
    document = read_bundle(bundle).document.model_copy(update=changes)
    shutil.copytree(bundle, folder, dirs_exist_ok=True)
    (folder / BUNDLE_FILE).write_bytes(document.to_document())
    return folder


@pytest.fixture(scope="session")
def changed() -> Callable[..., Path]:
    """Changes bundles: ``changed(bundle, folder, extraction=…)``."""
    return copy_with


@pytest.fixture(scope="session")
def served(tiny_bundle: Path) -> Iterator[ServerProcess]:
    """The server as a process, ready; shared, so its counters go on counting from test to test."""
    with ServerProcess(tiny_bundle) as server:
        yield server


@pytest.fixture
def make_service(tiny_bundle: Path) -> Iterator[Callable[..., Service]]:
    """Builds services of this process with the options given; loaded."""
    services: list[Service] = []

    def make(**options: object) -> Service:
        service = Service(ServerSettings.model_validate({"bundle": str(tiny_bundle), "threads": 1} | options))
        services.append(service)
        service.load()
        return service

    yield make
    for service in services:
        service.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A loaded service with the default options."""
    return make_service()


@pytest.fixture
def app(service: Service) -> FastAPI:
    """Its application."""
    return create_app(service)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the application, with no network between."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def face_service(make_service: Callable[..., Service], face_bundle: Path) -> Service:
    """A loaded service that judges faces, with the default options."""
    return make_service(bundle=str(face_bundle))


@pytest.fixture
def face_client(face_service: Service) -> Iterator[TestClient]:
    """A client of its application, with no network between."""
    with TestClient(create_app(face_service), raise_server_exceptions=False) as client:
        yield client
