"""Key frames alone: the stream's own, at their numbers and times, in each container and with little decoded."""

from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import BadInputError
from media.extraction import EvenFrames, KeyFrames
from media.video import VideoLimits, VideoReader, choose_frames, read_frames
from media.video.container import open_video
from media.video.stretches import stretches
from media.video.timeline import scan
from tests.clips import number_of, numbered, write_clip

COUNT = 90
FRAMES = [numbered(number) for number in range(COUNT)]
ALL = KeyFrames(count=COUNT)
OPEN_GOP = {"x264-params": "keyint=15:min-keyint=15:bframes=3:open-gop=1:scenecut=0"}
EVERY_15 = {"g": "15", "keyint_min": "15", "sc_threshold": "0"}


def decoded(path: Path) -> list[tuple[int, float, np.ndarray]]:
    """Number, time in ms and pixels of the frames that FFmpeg calls key frames while it decodes everything."""
    with av.open(str(path)) as container:
        start = (container.start_time or 0) / 1e6
        frames = enumerate(container.decode(video=0))
        return [
            (number, (frame.time - start) * 1000, frame.to_ndarray(format="rgb24"))
            for number, frame in frames
            if frame.key_frame and frame.time is not None
        ]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", EVERY_15),
        ("open-gop.mkv", "libx264", OPEN_GOP),
        ("open-gop.mp4", "libx264", OPEN_GOP),
        ("h264.ts", "libx264", EVERY_15),
        ("hevc.mp4", "libx265", {"x265-params": "keyint=20:min-keyint=20:log-level=none"}),
        ("vp9.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "20"}),
        ("vp8.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "20", "b": "1M"}),
        ("mpeg2.mpg", "mpeg2video", {"b": "2M", "bf": "2", "g": "12"}),
        ("mpeg4.avi", "mpeg4", {"b": "2M", "g": "12"}),
    ],
)
def test_key_frames_are_those_of_the_stream(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_clip(tmp_path / name, FRAMES, codec, options=options)
    expected = decoded(path)
    assert 4 <= len(expected) <= COUNT // 6
    found = list(read_frames(path, ALL))
    assert [(frame.number, frame.run) for frame in found] == [(number, 0) for number, _, _ in expected]
    assert [number_of(frame.rgb) for frame in found] == [frame.number for frame in found]
    assert [frame.time_ms for frame in found] == pytest.approx([time for _, time, _ in expected], abs=0.01)
    assert all(np.array_equal(frame.rgb, rgb) for frame, (_, _, rgb) in zip(found, expected, strict=True))
    some = list(read_frames(path, KeyFrames(count=3)))
    first, last = expected[0], expected[-1]
    assert (len(some), some[0].number, some[-1].number) == (3, first[0], last[0])
    assert {frame.number for frame in some} <= {number for number, _, _ in expected}


def test_every_frame_of_a_clip_without_others_is_one(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mov", FRAMES, "mjpeg", pixels="yuvj420p")
    for policy in (KeyFrames(count=7), ALL):
        frames = list(read_frames(path, policy))
        assert [frame.number for frame in frames] == [
            n for n, _ in choose_frames(EvenFrames(count=policy.count), COUNT)
        ]


def test_a_clip_with_one_key_frame_gives_one(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", FRAMES, options={"g": "250", "sc_threshold": "0"})
    (frame,) = read_frames(path, ALL)
    assert (frame.number, frame.time_ms, number_of(frame.rgb)) == (0, 0.0, 0)


def test_only_key_frames_are_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", FRAMES, options=EVERY_15)
    with open_video(path, VideoLimits(), 1) as (container, video):
        timeline = scan(container, video, VideoLimits())
        assert timeline is not None
        assert timeline.packets is not None
        needed = stretches([timeline.pts[number] for number in timeline.keys], timeline.packets)
    assert [one.last - one.first for one in needed] == [0] * (COUNT // 15)


@pytest.mark.parametrize(("name", "reason"), [("clip.mp4", "truncated-video"), ("clip.mkv", "truncated-video")])
def test_a_clip_that_is_cut_off_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    path = write_clip(tmp_path / name, FRAMES, options=EVERY_15)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(BadInputError) as error:
        list(read_frames(path, ALL))
    assert error.value.reason == reason


def test_a_transport_stream_that_is_cut_off_is_a_shorter_one(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.ts", FRAMES, options=EVERY_15)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 188 * 188])
    numbers = [number_of(frame.rgb) for frame in read_frames(path, ALL)]
    assert numbers[:2] == [0, 15]
    assert len(numbers) < COUNT // 15


def test_real_clips_give_the_frames_that_decoding_everything_calls_key_frames(real_media: Path) -> None:
    clips = [real_media / "videos/ffpp", real_media / "talking_heads"]
    paths = [path for folder in clips for path in sorted(folder.rglob("*.mp4"))[:2]]
    paths.append(real_media / "surveillance_classes/clips/Explosion/Explosion001_x264.mp4")
    for path in paths:
        expected = decoded(path)
        with VideoReader(path) as reader:
            found = list(reader.frames(choose_frames(ALL, reader.count, reader.keys)))
        assert [frame.number for frame in found] == [number for number, _, _ in expected], path
        assert all(np.array_equal(frame.rgb, rgb) for frame, (_, _, rgb) in zip(found, expected, strict=True)), path
