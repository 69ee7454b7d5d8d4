"""The server against direct calls on video: what HTTP, threads and batching cost beside decoding, detecting, judging.

Real clips of talking heads (``VERIFRAME_DATA``) go to the real server from several clients at one time, and come back
as the whole answer with its heatmaps. Directly, the same functions decode, detect and judge the same clips in this
process, as many at one time as the server has forward passes and with its threads. Both run in turns; the ratio is the
median over the rounds. The network is Spotter on EfficientNet-Lite0 at 224 px with random weights, which takes as long
as a trained one.
"""

import os
import statistics
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.face_bundles import CLASSES, write_face_bundle
from bench.load import closed_loop, post_picture
from bench.record import Ratio
from bench.serving import require_answers
from bundle import Networks, VerifiedBundle, open_networks, read_bundle
from bundle.faces.analysis import analyze_faces
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.faces import FaceDetector, faces_of_video
from media.spec import InputSpec
from media.views.face import FaceView
from models.family import FAMILIES
from serving.process import ServerProcess
from serving.service import share_threads
from serving.settings import ServerSettings

CLIENTS = 4
CLIPS = 7  # a round
ROUNDS = 3
FRAMES = 32  # looked at in a clip
SPEC = InputSpec(views={"face": FaceView(size=224)}, frames=8)


def measure() -> list[Ratio]:
    """Measure the frames a second that are judged at several clips at one time."""
    clips = _clips()
    ours, direct = [], []
    with TemporaryDirectory(prefix="bench-serving-faces-") as temporary:
        folder = _write_spotter(Path(temporary))
        bundle = read_bundle(folder)
        passes, threads = share_threads(ServerSettings(bundle=str(folder)))
        runs = open_networks(bundle, "onnx", threads=threads)
        with ServerProcess(folder) as server:
            requests = [post_picture(f"{server.url}/v1/analyze", clip) for clip in clips]
            for _ in range(ROUNDS + 1):
                load = require_answers(closed_loop(server.url, requests, CLIENTS, count=CLIPS))
                ours.append(load.rate() * FRAMES)
                direct.append(_direct(clips, bundle, runs, passes))
    ours, direct = ours[1:], direct[1:]  # the first warms both up
    return [
        Ratio(
            f"frames of video judged by the server at {CLIENTS} clients, Spotter on EfficientNet-Lite0",
            statistics.median(ours),
            "frames/s",
            f"decoding, detecting and judging directly, {passes} at one time with {threads} thread(s) each",
            [mine / other for mine, other in zip(ours, direct, strict=True)],
            goal=0.9,
        )
    ]


def _clips() -> list[bytes]:
    root = Path(os.environ.get("VERIFRAME_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    found = sorted((root / "talking_heads").glob("*.mp4"))
    if not found:
        raise RuntimeError(f"there are no clips in {root / 'talking_heads'}; set VERIFRAME_DATA")
    return [path.read_bytes() for path in found]


def _direct(clips: list[bytes], bundle: VerifiedBundle, runs: Mapping[str, Networks], passes: int) -> float:
    """Return the frames a second of direct calls."""
    extraction = bundle.document.extraction
    faces = extraction.faces or FaceSpec()
    own = threading.local()

    def analyze(number: int) -> None:
        if not hasattr(own, "detector"):
            own.detector = FaceDetector(faces.detector)
        found = faces_of_video(BytesIO(clips[number % len(clips)]), extraction, own.detector)
        analyze_faces(found, bundle.document, runs, batch_size=1)  # as the server on a processor

    with ThreadPoolExecutor(passes) as pool:
        started = time.perf_counter()
        list(pool.map(analyze, range(CLIPS)))
        return CLIPS * FRAMES / (time.perf_counter() - started)


def _write_spotter(folder: Path) -> Path:
    family = FAMILIES.get("spotter")
    settings = family.settings.model_validate({"backbone": "tf_efficientnet_lite0", "weights": "random"})
    torch.manual_seed(0)
    network = family.build(settings, SPEC, CLASSES, pretrained=False).eval()
    return write_face_bundle(
        folder,
        "spotter",
        {"spotter": network},
        {"spotter": SPEC},
        weights={"spotter": 1.0},
        temperatures={"spotter": 1.0},
        extraction=ExtractionSpec(decoder="pyav", frames=EvenFrames(count=FRAMES), faces=FaceSpec(), store="png"),
        formats=("onnx",),
    )
