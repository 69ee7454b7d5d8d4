"""Clips that tests make themselves: with their frames' numbers painted into them, with a face, and malformed ones."""

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from skimage import data

BITS = 12  # of the number in a numbered frame: two rows of six blocks
_COLUMNS = 6


def numbered(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A picture that says its number in black and white blocks, over a moving pattern."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([(rows * 3 + number * 5) % 200, (columns * 2 + number) % 200, (rows + columns) % 200], -1)
    rgb = rgb.astype(np.uint8)
    block = height // 4
    for bit in range(BITS):
        top, left = height // 2 + bit // _COLUMNS * block, bit % _COLUMNS * (width // _COLUMNS)
        rgb[top : top + block, left : left + width // _COLUMNS] = 255 * (number >> bit & 1)
    return rgb


def number_of(rgb: np.ndarray) -> int:
    """What ``numbered`` painted, read from a picture that may have been compressed."""
    height, width = rgb.shape[:2]
    block, found = height // 4, 0
    for bit in range(BITS):
        top, left = height // 2 + bit // _COLUMNS * block, bit % _COLUMNS * (width // _COLUMNS)
        middle = rgb[top + block // 4 : top + 3 * block // 4, left + 4 : left + width // _COLUMNS - 4]
        found |= int(middle.mean() > 127) << bit
    return found


def portrait(number: int, side: int = 192, shift: int = 2) -> np.ndarray:
    """A window on the face of the astronaut (public domain) that wanders to and fro with the number."""
    left = 150 + shift * abs(number % 24 - 12)
    return np.ascontiguousarray(data.astronaut()[:side, left : left + side])


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: int = 0,
    sound: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode frames, at 25 a second or at the given ``times`` in ms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as output:
        stream = _add_video(output, frames, codec, pixels, times, options)
        if rotation:
            stream.set_display_rotation(rotation)
        voice = (
            output.add_stream("aac" if path.suffix in (".mp4", ".mkv", ".mov") else "mp2", rate=48000)
            if sound
            else None
        )
        for number, rgb in enumerate(frames):
            _mux(output, stream, rgb, pixels, times[number] if times else None, number)
        output.mux(stream.encode())
        if voice is not None:
            _mux_sound(output, voice, seconds=len(frames) / 25)
    return path


def _add_video(
    output: Any, frames: Sequence[np.ndarray], codec: str, pixels: str, times: Any, options: dict[str, str] | None
) -> Any:
    stream = output.add_stream(codec, rate=25, options={"threads": "1", **(options or {})})
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pixels
    if times is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    return stream


def _mux(output: Any, stream: Any, rgb: np.ndarray, pixels: str, time: int | None, number: int) -> None:
    frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels)
    if time is None:
        frame.pts, frame.time_base = number, Fraction(1, 25)
    else:
        frame.pts, frame.time_base = time, Fraction(1, 1000)
    output.mux(stream.encode(frame))


def _mux_sound(output: Any, voice: Any, seconds: float) -> None:
    size = voice.codec_context.frame_size or 1152
    layout = voice.codec_context.layout.name
    for start in range(0, int(seconds * 48000), size):
        form = voice.codec_context.format.name
        channels = voice.codec_context.layout.nb_channels
        wave = (np.sin(np.arange(start, start + size) * 0.06) * 0.3).astype(np.float32)
        if form.startswith("s16"):
            wave = (wave * 32767).astype(np.int16)
        shape = np.tile(wave, (channels, 1)) if form.endswith("p") else np.repeat(wave, channels)[None]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(shape), format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(voice.encode(frame))
    output.mux(voice.encode(None))


def write_streams(path: Path, clips: Sequence[Sequence[np.ndarray]]) -> Path:
    """Encode several streams of video, of any sizes, into one file."""
    with av.open(str(path), "w") as output:
        streams = [_add_video(output, frames, "libx264", "yuv420p", None, None) for frames in clips]
        for stream, frames in zip(streams, clips, strict=True):
            for number, rgb in enumerate(frames):
                _mux(output, stream, rgb, "yuv420p", None, number)
            output.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Encode a file of sound without a picture."""
    with av.open(str(path), "w") as output:
        _mux_sound(output, output.add_stream("aac", rate=48000), 1.0)
    return path


def malformed(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of sixty malformed clips: cut off, damaged, mislabelled, empty of video.

    Some are harmless: what they have lost is not needed. None may crash what reads it.
    """
    frames = [portrait(number) for number in range(25)]
    sources = {
        "plain.mp4": write_clip(folder / "plain.mp4", frames),
        "fast.mp4": write_clip(folder / "fast.mp4", frames, container={"movflags": "faststart"}),
        "clip.mkv": write_clip(folder / "clip.mkv", frames),
        "clip.avi": write_clip(folder / "clip.avi", frames, "mpeg4"),
        "clip.ts": write_clip(folder / "clip.ts", frames, sound=True),
    }
    for name, path in sources.items():
        whole = path.read_bytes()
        for tenth in range(1, 10):
            yield f"cut{tenth}-{name}", whole[: len(whole) * tenth // 10]
    whole = sources["fast.mp4"].read_bytes()
    draw = np.random.default_rng(7)
    noise = draw.integers(0, 256, 4096, np.uint8).tobytes()
    yield "header-noise.mp4", noise[:512] + whole[512:]
    yield "header-zeroed.mp4", whole[:32] + bytes(512) + whole[544:]
    yield "moov-huge.mp4", whole[: whole.index(b"moov") - 4] + b"\xff\xff\xff\xff" + whole[whole.index(b"moov") :]
    yield "sizes-huge.mp4", _replaced(whole, b"stsz", 8, b"\x7f\xff\xff\xff")
    yield "count-huge.mp4", _replaced(whole, b"stsz", 12, b"\x7f\xff\xff\xff")
    middle = whole.index(b"mdat") + 4000
    yield "frames-noise.mp4", whole[:middle] + noise + whole[middle + len(noise) :]
    yield "frames-zeroed.mp4", whole[:middle] + bytes(6000) + whole[middle + 6000 :]
    yield "absurd-size.avi", _absurd(sources["clip.avi"].read_bytes())
    yield "absurd-size.mp4", _absurd_avc(whole)
    yield "sound-only.mp4", write_sound(folder / "sound.mp4").read_bytes()
    yield "no-frames.mp4", _no_frames(whole)
    yield "empty.mp4", b""
    yield "text.mp4", b"this is no clip, whatever its name says\n" * 20
    yield "picture.mp4", cv2.imencode(".jpg", frames[0])[1].tobytes()
    yield "wrong.avi", whole


def _replaced(whole: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    place = whole.index(box) + offset
    return whole[:place] + value + whole[place + len(value) :]


def _absurd(avi: bytes) -> bytes:
    """An AVI whose headers say 60,000 × 60,000 px."""
    place = avi.index(b"strf") + 12
    absurd = avi[:place] + struct.pack("<ii", 60000, 60000) + avi[place + 8 :]
    place = absurd.index(b"avih") + 8 + 32
    return absurd[:place] + struct.pack("<II", 60000, 60000) + absurd[place + 8 :]


def _absurd_avc(mp4: bytes) -> bytes:
    """An MP4 whose sample entry says 65,535 × 65,535 px."""
    place = mp4.index(b"avc1", mp4.index(b"stsd")) + 28
    return mp4[:place] + b"\xff" * 4 + mp4[place + 4 :]


def _no_frames(mp4: bytes) -> bytes:
    """An MP4 whose tables name no sample."""
    for box, offset in ((b"stsz", 12), (b"stts", 8), (b"stsc", 8), (b"stco", 8), (b"ctts", 8), (b"stss", 8)):
        if box in mp4:
            mp4 = _replaced(mp4, box, offset, bytes(4))
    return mp4
