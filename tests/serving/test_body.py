"""Where the bytes of a request are kept while they arrive."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.service import Service

LARGE = 3 * 2**20


def padded(clip: bytes, size: int) -> bytes:
    """A clip with bytes behind it that every player skips."""
    rest = size - len(clip)
    return clip + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: nothing in this process can write a longer file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def make_client(make_service: Callable[..., Service], face_bundle: Path) -> Callable[..., TestClient]:
    def make(**options: object) -> TestClient:
        service = make_service(bundle=str(face_bundle), **options)
        return TestClient(create_app(service), raise_server_exceptions=False)

    return make


def test_a_long_upload_goes_to_a_file_and_a_short_one_does_not(
    make_client: Callable[..., TestClient], clip: Callable[..., bytes]
) -> None:
    data = padded(clip(24), LARGE)
    with make_client(spool_bytes=2**20) as spooling, make_client(spool_bytes=2 * LARGE) as holding:
        with files_of_at_most(2**18):
            refused = spooling.post("/v1/analyze", files={"file": data})
            held = holding.post("/v1/analyze", files={"file": data})
        written = spooling.post("/v1/analyze", files={"file": data})
    assert (refused.status_code, refused.json()["reason"]) == (503, "no-space")
    assert refused.headers["Retry-After"]
    assert (held.status_code, written.status_code) == (200, 200)
    assert held.json()["probability"] == pytest.approx(written.json()["probability"])
    assert held.json()["video"] == written.json()["video"]


def test_long_uploads_together_may_not_be_longer_than_allowed(
    make_client: Callable[..., TestClient], clip: Callable[..., bytes]
) -> None:
    with make_client(spool_bytes=2**20, open_video_bytes=LARGE) as client:
        refused = client.post("/v1/analyze", files={"file": padded(clip(24), LARGE)})
        taken = client.post("/v1/analyze", files={"file": padded(clip(24), LARGE // 2)})
    assert (refused.status_code, refused.json()["reason"]) == (429, "queue-full")
    assert taken.status_code == 200


def test_pictures_for_regions_are_never_written(client: TestClient, picture: Callable[..., bytes]) -> None:
    with files_of_at_most(2**16):
        answer = client.post("/v1/analyze", files={"file": picture(40, 40) + bytes(LARGE)})
    assert answer.status_code == 200
