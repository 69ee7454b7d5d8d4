"""Fixtures that every folder of tests may use."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import docker
import pytest

from bench.seaweed import SeaweedServer
from pipelines.references import reference
from tests.clips import malformed

pytest_plugins = ["tests.tiny_dataset"]


def absent(reason: str) -> NoReturn:
    """Skip a test whose surroundings are not there; fail it where CI=true promises them."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_media() -> Path:
    """The folder of real media (``VERIFRAME_DATA``, by default beside the project)."""
    folder = Path(os.environ.get("VERIFRAME_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        absent(f"there are no real media in {folder}; set VERIFRAME_DATA")
    return folder


@pytest.fixture(scope="session")
def malformed_clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Sixty malformed clips: contents by name; see ``tests.clips.malformed``."""
    return dict(malformed(tmp_path_factory.mktemp("malformed")))


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A real S3 server with access keys; ``kill`` and ``start`` restart it on the same data and port."""
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def bucket(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """URI of a fresh bucket, which the environment's AWS variables lead to."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    return seaweed.bucket()


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the Docker engine."""
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        absent(f"no Docker engine answers ({error})")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Callable[[str], str]:
    """Turns a name from ``components.images`` into the reference of the image that `make images` built."""

    def find(name: str) -> str:
        found = reference(name)
        try:
            engine.images.get(found)
        except docker.errors.ImageNotFound:
            absent(f"there is no image {found}: run `make images`")
        return found

    return find
