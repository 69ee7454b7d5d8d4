"""The real server on a tiny bundle, as a process and as an application in this one."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from bench.bundles import write_tiny_bundle
from media.bundle import Figures, Pointer, read_bundle
from media.storage import open_store
from serving.app import create_app
from serving.process import ServerProcess
from serving.service import Service
from serving.settings import ServerSettings


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


def publish_release(root: str, bundle: Path) -> None:
    """Put a bundle where the publish step puts releases, with the pointer to it."""
    store = open_store(root)
    verified = read_bundle(bundle)
    folder = f"releases/tiny/{verified.document.version}"
    for path in bundle.rglob("*"):
        if path.is_file():
            store.upload(path, f"{folder}/{path.relative_to(bundle).as_posix()}")
    figures = Figures(f1=1.0, authentic_fpr=0.0, robustness=1.0)
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
