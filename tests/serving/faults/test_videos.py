"""Videos beyond what the server can do: too many, too slow, given up, longer than memory, and on the way out."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.load import closed_loop, open_loop, post_picture
from media.extraction import DetectorSpec, EvenFrames, ExtractionSpec, FaceSpec
from serving.process import ServerProcess

QUEUE = 3
TIMEOUT = 2.0
LARGE = 96 * 2**20
ROUTE = "/v1/analyze?heatmaps=1"


@pytest.fixture(scope="module")
def thorough(face_bundle: Path, changed: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle that looks for faces in each of up to 512 frames."""
    faces = FaceSpec(detector=DetectorSpec(every=1))
    extraction = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=512), faces=faces, store="png")
    return changed(face_bundle, tmp_path_factory.mktemp("thorough"), extraction=extraction)


@pytest.fixture(scope="module")
def strict(thorough: Path, look: Callable[..., Any]) -> Iterator[Any]:
    """A probe of a server with small limits."""
    limits = {"video_queue": QUEUE, "video_timeout": TIMEOUT, "video_decoders": 1}
    with ServerProcess(thorough, threads=1, **limits) as server:
        yield look(server)


@pytest.fixture(scope="module")
def short(clip: Callable[..., bytes]) -> bytes:
    """A request for a video that is soon judged."""
    return post_picture(f"http://127.0.0.1{ROUTE}", clip(12))


@pytest.fixture(scope="module")
def long(clip: Callable[..., bytes]) -> bytes:
    """A request for a video that takes longer than the time limit."""
    return post_picture(f"http://127.0.0.1{ROUTE}", clip(512, side=640))


@pytest.fixture
def unharmed_by_videos(strict: Any, short: bytes) -> Iterator[None]:
    """Checks after the test that nothing is held any more, and that the server judges as before."""
    assert strict.ask(short).status == 200
    descriptors = strict.descriptors
    yield
    assert strict.until(lambda: strict.metric("in_flight") == strict.metric("queue_depth") == 0, 2)
    assert strict.until(lambda: strict.descriptors <= descriptors)
    assert strict.ask(short).status == 200
    assert "Traceback" not in strict.server.log


def test_a_video_that_takes_too_long_is_504_and_not_decoded_any_further(
    strict: Any, unharmed_by_videos: None, long: bytes, short: bytes
) -> None:
    started = time.monotonic()
    reply = strict.ask(long)
    assert (reply.status, reply.reason) == (504, "timeout")
    assert TIMEOUT <= time.monotonic() - started < TIMEOUT + 2
    started = time.monotonic()
    assert strict.ask(short).status == 200  # the one decoder is free again
    assert time.monotonic() - started < 0.75 * TIMEOUT


def test_a_client_that_goes_away_frees_the_decoder(
    strict: Any, unharmed_by_videos: None, long: bytes, short: bytes
) -> None:
    before = strict.metric("rejected_total", reason="client-gone")
    wires = [strict.wire() for _ in range(QUEUE)]
    for wire in wires:
        wire.send(long)
    assert strict.until(lambda: strict.metric("in_flight") == QUEUE)
    for wire in wires:
        wire.socket.close()
    assert strict.until(lambda: strict.metric("in_flight") == 0, 0.75 * TIMEOUT)
    assert strict.metric("rejected_total", reason="client-gone") - before == QUEUE
    assert strict.ask(short).status == 200


def test_more_videos_than_allowed_are_429_and_pictures_are_judged_all_the_same(
    strict: Any, unharmed_by_videos: None, long: bytes, portrait: bytes
) -> None:
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(closed_loop, strict.url, [long], QUEUE, count=QUEUE)
        assert strict.until(lambda: strict.metric("in_flight") == QUEUE)
        refused = strict.ask(long)
        started = time.monotonic()
        assert strict.analyze(portrait, "").status == 200
        assert time.monotonic() - started < 0.75 * TIMEOUT
        assert load.result().counts == {504: QUEUE}
    assert (refused.status, refused.reason) == (429, "queue-full")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_at_several_times_capacity_each_video_is_answered_or_refused_at_once(
    face_bundle: Path, start: Callable[..., ServerProcess], look: Callable[..., Any], clip: Callable[..., bytes]
) -> None:
    server = start(face_bundle, video_queue=8)
    server.wait_until_ready()
    probe = look(server)
    clips = [clip(frames, side=320) for frames in (20, 30, 40)]
    expected = {}
    for data in clips:
        answer = json.loads(probe.analyze(data, "?heatmaps=0").body)
        expected[answer["video"]["sha256"]] = pytest.approx(answer["probability"], abs=1e-5)
    requests = [post_picture(f"{server.url}{ROUTE}", data) for data in clips]
    capacity = closed_loop(server.url, requests, 4, seconds=2)
    assert set(capacity.counts) == {200}
    resident = probe.resident
    load = open_loop(server.url, requests, 4 * capacity.rate(), seconds=5)
    assert set(load.counts) == {200, 429}
    assert load.rate(200) > 0.5 * capacity.rate()
    assert load.quantile(0.5, 429) < load.quantile(0.5, 200) / 3
    for outcome in load.of(200):
        answer = json.loads(outcome.body)
        assert answer["probability"] == expected[answer["video"]["sha256"]]
    assert probe.until(lambda: probe.metric("in_flight") == probe.metric("queue_depth") == 0)
    assert probe.peak - resident < 200 * 2**20
    assert probe.ready == 200


def test_videos_that_were_accepted_are_answered_on_the_way_out(
    face_bundle: Path, start: Callable[..., ServerProcess], look: Callable[..., Any], clip: Callable[..., bytes]
) -> None:
    server = start(face_bundle, drain_delay=0)
    server.wait_until_ready()
    probe = look(server)
    request = post_picture(f"{server.url}{ROUTE}", clip(60, side=480))
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(closed_loop, server.url, [request], 12, count=12)
        assert probe.until(lambda: probe.metric("in_flight") == 12)
        server.terminate()
        assert server.wait(30) == 0
        assert load.result().counts == {200: 12}
    assert "Traceback" not in server.log


def test_a_long_upload_is_not_held_in_memory(
    face_bundle: Path, start: Callable[..., ServerProcess], look: Callable[..., Any], clip: Callable[..., bytes]
) -> None:
    server = start(face_bundle)
    server.wait_until_ready()
    probe = look(server)
    data = clip(24)
    assert probe.analyze(data, "").status == 200
    resident, descriptors = probe.resident, probe.descriptors
    rest = LARGE - len(data)
    reply = probe.analyze(data + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8), "")
    assert reply.status == 200
    assert json.loads(reply.body)["outcome"] == "judged"
    assert probe.peak - resident < LARGE / 4
    assert probe.until(lambda: probe.descriptors <= descriptors)
