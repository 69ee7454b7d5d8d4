import asyncio
import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from bundle import open_networks, read_bundle
from bundle.analyzers import Item, Outputs
from bundle.document import CLIP, MODEL
from bundle.faces.analysis import analyze_faces
from bundle.faces.documents import FaceAnalysis, FaceOptions
from bundle.faces.verdict import FaceVerdict
from bundle.task import BUNDLE_TASKS
from bundle.work import Stages
from media.extraction import ClipFrames, ExtractionSpec, FaceSpec
from media.faces import FaceDetector, FacesFound, faces_of_picture, faces_of_video
from media.pictures import decode_picture
from media.video import VideoLimits
from media.view import StoredSample
from serving.app import create_app
from serving.batcher import Batcher, Lane, NetworkName, stack_items
from serving.metrics import Metrics
from serving.networks import open_lanes
from serving.service import Service
from serving.settings import ServerSettings
from serving.workbench import ServerWorkbench

CLIPS = NetworkName("clips", CLIP)  # the clip network of the bundle's member of that name


def send(client: TestClient, data: bytes, **parameters: object) -> FaceAnalysis:
    answer = client.post("/v1/analyze", files={"file": ("a name.txt", data)}, params=parameters)
    assert answer.status_code == 200, answer.text
    return FaceAnalysis.model_validate_json(answer.content)


def directly(folder: Path, data: bytes, min_frames: int = 4) -> tuple[FaceVerdict, FacesFound]:
    """Analyze a clip without a server."""
    bundle = read_bundle(folder)
    faces = bundle.document.extraction.faces
    assert faces is not None
    found = faces_of_video(io.BytesIO(data), bundle.document.extraction, FaceDetector(faces.detector), VideoLimits())
    networks = open_networks(bundle, "onnx", threads=1)
    return analyze_faces(found, bundle.document, networks, min_frames=min_frames), found


def require_same(answer: FaceAnalysis, verdict: FaceVerdict, found: FacesFound) -> None:
    assert (answer.outcome, answer.verdict, answer.threshold) == (verdict.outcome, verdict.verdict, verdict.threshold)
    assert answer.probability == pytest.approx(verdict.probability, abs=2e-6)
    assert [face.face for face in answer.faces] == [track.track for track in verdict.tracks]
    for face, track in zip(answer.faces, verdict.tracks, strict=True):
        crops = [crop for crop in found.crops if crop.track == track.track]
        assert face.probability == pytest.approx(track.probability, abs=2e-6)
        assert [frame.frame for frame in face.frames] == [crop.frame for crop in crops]
        assert [frame.time for frame in face.frames] == pytest.approx([crop.time_ms / 1000 for crop in crops])
        np.testing.assert_allclose([frame.box for frame in face.frames], [crop.box for crop in crops], atol=0.051)
        np.testing.assert_allclose([frame.probability for frame in face.frames], track.frames, atol=2e-6)
        assert (face.first_time, face.last_time) == (face.frames[0].time, face.frames[-1].time)
        assert face.frames_used == len(crops)
    assert [(one.name, one.probability) for one in answer.members] == [
        (one.name, pytest.approx(one.probability, abs=2e-6)) for one in verdict.members
    ]
    assert answer.frames == found.frames
    assert answer.frames_used == len({crop.frame for crop in found.crops})
    assert answer.abstained == []


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_the_answer_to_a_clip_is_that_of_the_bundle_judged_directly(
    face_client: TestClient, face_bundle: Path, clip: Callable[..., bytes], kind: str
) -> None:
    data = clip(24, kind=kind)
    answer = send(face_client, data)
    assert answer.outcome == "judged"
    require_same(answer, *directly(face_bundle, data))
    assert answer.video is not None
    assert answer.picture is None
    facts = answer.video.model_dump(exclude={"frames", "duration"})
    digest = hashlib.sha256(data).hexdigest()
    assert facts == {"width": 192, "height": 192, "rate": 25, "codec": "h264", "rotation": 0, "sha256": digest}
    assert answer.bundle.sha256 == read_bundle(face_bundle).sha256


def test_real_clips_at_one_time_are_judged_as_one_by_one(
    face_service: Service, face_bundle: Path, real_media: Path
) -> None:
    paths = sorted(real_media.rglob("*.mp4"), key=lambda path: path.stat().st_size)
    files = [path.read_bytes() for path in paths if path.parent.name in ("talking_heads", "videos")][:4]
    assert len(files) == 4

    async def together() -> list[bytes]:
        analyze = face_service.analyzer.analyze_video
        return await asyncio.gather(*(analyze(io.BytesIO(data), FaceOptions(heatmaps=1)) for data in files))

    for data, document in zip(files, asyncio.run(together()), strict=True):
        answer = FaceAnalysis.model_validate_json(document)
        assert answer.outcome == "judged"
        require_same(answer, *directly(face_bundle, data))


@dataclass(frozen=True)
class Together(ServerWorkbench):
    """A workbench that hands the clips of several requests over at one moment."""

    barrier: asyncio.Barrier

    async def infer(
        self, items: Mapping[str, Sequence[Item]], stages: Stages, network: str = MODEL
    ) -> dict[str, Outputs]:
        """Wait for the other requests first, where clips are asked about."""
        if network == CLIP:
            await self.barrier.wait()
        return await super().infer(items, stages, network)


@pytest.fixture
def run_bundle(face_bundle: Path, changed: Callable[..., Path], tmp_path: Path) -> Path:
    """The tiny bundle, which looks at a run of eight frames: two clips of four."""
    frames = ClipFrames(clips=1, length=8)
    extraction = ExtractionSpec(decoder="pyav", frames=frames, faces=FaceSpec(), store="png")
    return changed(face_bundle, tmp_path / "runs", extraction=extraction)


def test_clips_of_several_requests_share_a_forward_pass_and_are_judged_as_one_by_one(
    run_bundle: Path, clip: Callable[..., bytes]
) -> None:
    bundle, files = read_bundle(run_bundle), [clip(frames) for frames in (9, 11, 24)]
    settings = ServerSettings(bundle=str(run_bundle), threads=1)
    metrics = Metrics([BUNDLE_TASKS.get("faces").served], settings.time_limits)
    clips_of_all = 2 * len(files)
    lanes = open_lanes(bundle, settings, passes=1, threads=1)
    lanes[CLIPS] = replace(lanes[CLIPS], max_batch=clips_of_all, delay=30.0)  # runs as soon as it is full
    batcher = Batcher(lanes, observe=lambda name, items, _: metrics.batch_size.labels(*name).observe(items))

    async def together() -> list[bytes]:
        pools = ThreadPoolExecutor(2), ThreadPoolExecutor(3)
        lent = Together(settings, metrics, *pools, batcher, asyncio.Barrier(len(files)))
        analyzer = BUNDLE_TASKS.get("faces").analyzer(bundle, lent)
        options = FaceOptions(heatmaps=0)
        return await asyncio.gather(*(analyzer.analyze_video(io.BytesIO(data), options) for data in files))

    for data, document in zip(files, asyncio.run(together()), strict=True):
        require_same(FaceAnalysis.model_validate_json(document), *directly(run_bundle, data))
    batcher.stop()
    exposed = metrics.render().decode()
    assert 'veriframe_batch_size_count{member="clips",network="clip"} 1.0' in exposed
    assert f'veriframe_batch_size_sum{{member="clips",network="clip"}} {clips_of_all}.0' in exposed
    assert 'veriframe_batch_size_sum{member="clips",network="model"} 24.0' in exposed  # frames


def test_clips_of_a_request_that_is_given_up_are_not_run(run_bundle: Path, clip: Callable[..., bytes]) -> None:
    bundle = read_bundle(run_bundle)
    settings = ServerSettings(bundle=str(run_bundle), threads=1)
    lanes = open_lanes(bundle, settings, passes=1, threads=1)
    running, go_on, sizes = threading.Event(), threading.Event(), []

    def held(inputs: Any) -> Outputs:
        sizes.append(len(inputs["lengths"]))
        running.set()
        assert go_on.wait(30)
        return lanes[CLIPS].run(inputs)

    batcher = Batcher(lanes | {CLIPS: Lane(held, 1)})
    metrics = Metrics([BUNDLE_TASKS.get("faces").served], settings.time_limits)
    lent = ServerWorkbench(settings, metrics, ThreadPoolExecutor(1), ThreadPoolExecutor(1), batcher)
    analyzer = BUNDLE_TASKS.get("faces").analyzer(bundle, lent)

    async def give_up() -> None:
        work = asyncio.ensure_future(analyzer.analyze_video(io.BytesIO(clip(24)), FaceOptions()))
        await asyncio.to_thread(running.wait, 30)
        assert batcher.waiting == 1  # the second of two clips, bounded and counted like everything else
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert batcher.waiting == 0

    asyncio.run(give_up())
    go_on.set()
    batcher.stop()
    assert sizes == [1]


def test_a_clip_without_a_face_has_no_verdict(face_client: TestClient, clip: Callable[..., bytes]) -> None:
    answer = send(face_client, clip(20, face=False))
    assert (answer.outcome, answer.verdict, answer.probability) == ("no_face", None, None)
    assert answer.faces == answer.members == answer.heatmaps == []
    assert (answer.frames, answer.frames_used) == (8, 0)
    assert answer.video is not None


def test_a_clip_of_few_frames_has_no_verdict(
    make_service: Callable[..., Service], face_bundle: Path, clip: Callable[..., bytes]
) -> None:
    service = make_service(bundle=str(face_bundle), min_frames=6)
    with TestClient(create_app(service)) as client:
        short, long = (send(client, clip(frames)) for frames in (5, 6))
    assert (short.outcome, short.verdict, short.probability) == ("too_short", None, None)
    assert short.faces == []
    assert long.outcome == "judged"


def test_a_bundle_of_clips_finds_a_video_too_short_for_one(
    make_service: Callable[..., Service],
    face_bundle: Path,
    changed: Callable[..., Path],
    tmp_path: Path,
    clip: Callable[..., bytes],
) -> None:
    runs = ClipFrames(clips=2, length=8)
    extraction = ExtractionSpec(decoder="pyav", frames=runs, faces=FaceSpec(), store="png")
    folder = changed(face_bundle, tmp_path, extraction=extraction)
    with TestClient(create_app(make_service(bundle=str(folder), min_frames=8))) as client:
        answer = send(client, clip(30))
        assert (answer.outcome, answer.frames) == ("judged", 16)
        require_same(answer, *directly(folder, clip(30), min_frames=8))
        assert send(client, clip(7)).outcome == "too_short"


def test_a_bundle_made_from_stills_looks_at_as_many_frames_as_the_operator_says(
    make_service: Callable[..., Service],
    face_bundle: Path,
    changed: Callable[..., Path],
    tmp_path: Path,
    clip: Callable[..., bytes],
) -> None:
    folder = changed(face_bundle, tmp_path, extraction=ExtractionSpec(faces=FaceSpec(margin=1.0)))
    with TestClient(create_app(make_service(bundle=str(folder), frames=5))) as client:
        answer = send(client, clip(21))
    assert [frame.frame for frame in answer.faces[0].frames] == [0, 5, 10, 15, 20]


def test_heatmaps_show_the_most_suspicious_frames_worst_first(
    face_client: TestClient, face_bundle: Path, clip: Callable[..., bytes]
) -> None:
    answer = send(face_client, clip(24), heatmaps=5)
    sides = {crop.frame: crop.rgb.shape[0] for crop in directly(face_bundle, clip(24))[1].crops}
    frames = sorted((frame for face in answer.faces for frame in face.frames), key=lambda frame: -frame.probability)
    assert [heat.frame for heat in answer.heatmaps] == [frame.frame for frame in frames[:5]]
    assert [heat.probability for heat in answer.heatmaps] == [frame.probability for frame in frames[:5]]
    for heat in answer.heatmaps:
        picture = Image.open(io.BytesIO(base64.b64decode(heat.picture)))
        assert (picture.format, picture.size) == ("PNG", (sides[heat.frame],) * 2)
        assert heat.members == ["clips"]
    assert send(face_client, clip(24), heatmaps=0).heatmaps == []
    refused = face_client.post("/v1/analyze", files={"file": clip(24)}, params={"heatmaps": 33})
    assert (refused.status_code, refused.json()["reason"]) == (422, "bad-parameter")


def test_a_picture_is_judged_by_its_face(face_client: TestClient, face_bundle: Path, portrait: bytes) -> None:
    answer = send(face_client, portrait)
    bundle = read_bundle(face_bundle)
    faces = bundle.document.extraction.faces
    assert faces is not None
    found = faces_of_picture(decode_picture(portrait), faces, FaceDetector(faces.detector))
    require_same(answer, analyze_faces(found, bundle.document, open_networks(bundle, "onnx", threads=1)), found)
    assert answer.outcome == "judged"
    assert answer.video is None
    assert answer.picture is not None
    assert (answer.picture.width, answer.picture.height) == (256, 256)


def test_a_picture_without_a_face_has_no_verdict(face_client: TestClient, picture: Callable[..., bytes]) -> None:
    answer = send(face_client, picture(200, 200))
    assert (answer.outcome, answer.verdict, answer.probability) == ("no_face", None, None)


def test_media_that_the_bundle_does_not_judge_are_415(
    client: TestClient, face_client: TestClient, clip: Callable[..., bytes]
) -> None:
    video = client.post("/v1/analyze", files={"file": clip(3)})
    text = face_client.post("/v1/analyze", files={"file": b"hello"})
    empty = face_client.post("/v1/analyze", files={"file": b""})
    for answer in (video, text, empty):
        assert (answer.status_code, answer.json()["reason"]) == (415, "unsupported-media")
    assert "judges pictures" in video.json()["error"]
    assert "judges videos" in text.json()["error"]
    assert client.post("/v1/analyze", files={"file": b"hello"}).status_code == 422


@pytest.mark.parametrize(
    ("limit", "reason", "status"),
    [
        ({"max_seconds": 0.5}, "too-long", 422),
        ({"max_frames": 23}, "too-many-frames", 422),
        ({"max_pixels": 192 * 192 - 1}, "too-large", 422),
        ({"max_video_bytes": 8192}, "too-many-bytes", 413),
    ],
)
def test_every_limit_of_a_video_has_its_reason(
    make_service: Callable[..., Service],
    face_bundle: Path,
    clip: Callable[..., bytes],
    limit: dict[str, Any],
    reason: str,
    status: int,
) -> None:
    service = make_service(bundle=str(face_bundle), **limit)
    with TestClient(create_app(service)) as client:
        answer = client.post("/v1/analyze", files={"file": clip(24)})
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        assert f'veriframe_rejected_total{{reason="{reason}"}} 1.0' in client.get("/metrics").text


def test_a_picture_may_not_have_as_many_bytes_as_a_video(
    make_service: Callable[..., Service], face_bundle: Path, portrait: bytes
) -> None:
    service = make_service(bundle=str(face_bundle), max_bytes=len(portrait), spool_bytes=4096)
    with TestClient(create_app(service)) as client:
        assert send(client, portrait).outcome == "judged"
        answer = client.post("/v1/analyze", files={"file": portrait + b"\0"})
    assert (answer.status_code, answer.json()["reason"]) == (413, "too-many-bytes")


def test_both_runtimes_answer_alike(
    make_service: Callable[..., Service], face_bundle: Path, clip: Callable[..., bytes]
) -> None:
    answers = []
    for runtime in ("onnx", "torchscript"):
        with TestClient(create_app(make_service(bundle=str(face_bundle), runtime=runtime))) as client:
            answers.append(send(client, clip(24)))
    assert answers[0].probability == pytest.approx(answers[1].probability, abs=1e-5)


def test_timings_outcomes_and_scores_reach_the_metrics(face_client: TestClient, clip: Callable[..., bytes]) -> None:
    answer = send(face_client, clip(24))
    send(face_client, clip(8, face=False))
    parts = answer.timings.model_dump()
    total = parts.pop("total")
    assert sum(parts.values()) == pytest.approx(total, abs=1e-4)
    assert all(seconds >= 0 for seconds in parts.values())
    assert min(parts[stage] for stage in ("decode", "detect", "preprocess", "inference", "postprocess")) > 0
    exposed = face_client.get("/metrics").text
    for stage in parts:
        assert f'veriframe_stage_seconds_count{{stage="{stage}"}} 2.0' in exposed
    for outcome, count in (("judged", 1), ("no_face", 1), ("too_short", 0), ("abstained", 0)):
        assert f'veriframe_outcomes_total{{outcome="{outcome}"}} {count}.0' in exposed
    for member in ("ensemble", "stills", "clips"):
        assert f'veriframe_score_count{{member="{member}"}} 1.0' in exposed
    assert "veriframe_faces_sum 1.0" in exposed
    assert "veriframe_frames_used_sum 8.0" in exposed


def test_models_have_the_outputs_of_their_networks(face_client: TestClient, face_bundle: Path, portrait: bytes) -> None:
    described = face_client.get("/v2/models/tiny-faces.clips").json()
    assert described["inputs"] == [{"name": "face", "datatype": "UINT8", "shape": [-1, 3, 48, 48]}]
    shapes = {output["name"]: output["shape"] for output in described["outputs"]}
    assert shapes == {"logits": [-1, 1], "vectors": [-1, 4], "heatmap": [-1, 1, 8, 8]}
    bundle = read_bundle(face_bundle)
    member = next(member for member in bundle.document.members if member.name == "clips")
    view = member.input.views["face"].cut(StoredSample(decode_picture(portrait)))
    batch = stack_items([{"face": view}] * 2)
    outputs = infer(face_client, "tiny-faces.clips", "face", batch["face"])
    direct = open_networks(bundle, "onnx", threads=1)["clips"]["model"](batch)
    assert outputs.keys() == direct.keys()
    for name, array in direct.items():
        np.testing.assert_allclose(outputs[name], array, atol=1e-6)


def test_the_bundle_is_a_model_that_judges_the_faces_of_a_picture(
    face_client: TestClient, portrait: bytes, picture: Callable[..., bytes]
) -> None:
    answer = send(face_client, portrait)
    outputs = infer(face_client, "tiny-faces", "picture", decode_picture(portrait))
    assert outputs["probability"] == pytest.approx([face.probability for face in answer.faces], abs=2e-6)
    assert outputs["manipulated"].tolist() == [answer.verdict == "manipulated"]
    assert outputs["abstained"].tolist() == [[False, False]]
    np.testing.assert_allclose(outputs["box"], [face.frames[0].box for face in answer.faces], atol=0.051)
    nothing = infer(face_client, "tiny-faces", "picture", decode_picture(picture(64, 64)))
    assert {name: array.shape for name, array in nothing.items()} == {
        "probability": (0,),
        "manipulated": (0,),
        "box": (0, 4),
        "abstained": (0, 2),
    }


def infer(client: TestClient, model: str, name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    one = {"name": name, "datatype": "UINT8", "shape": list(array.shape), "data": array.ravel().tolist()}
    answer = client.post(f"/v2/models/{model}/infer", content=json.dumps({"inputs": [one]}))
    assert answer.status_code == 200, answer.text
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer.json()["outputs"]}
