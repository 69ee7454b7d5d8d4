import io
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import BadInputError
from media.extraction import ClipFrames, EvenFrames
from media.video import VideoLimits, VideoReader, choose_frames, looks_like_video, probe, read_frames
from media.video.container import open_video
from media.video.stretches import stretches
from media.video.timeline import scan
from tests.clips import number_of, numbered, write_clip, write_streams

COUNT = 90
FRAMES = [numbered(number) for number in range(COUNT)]
EVEN = EvenFrames(count=7)
OPEN_GOP = {"x264-params": "keyint=15:min-keyint=15:bframes=3:open-gop=1:scenecut=0"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", FRAMES, sound=True)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("h264.mp4", "libx264", "yuv420p", {}),
        ("short-gop.mp4", "libx264", "yuv420p", {"g": "12"}),
        ("open-gop.mkv", "libx264", "yuv420p", OPEN_GOP),
        ("deep.mp4", "libx264", "yuv420p10le", {}),
        ("hevc.mp4", "libx265", "yuv420p", {"x265-params": "keyint=20:log-level=none"}),
        ("vp9.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
        ("vp8.webm", "libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "b": "1M"}),
        ("mpeg4.avi", "mpeg4", "yuv420p", {"b": "2M"}),
        ("mpeg2.ts", "mpeg2video", "yuv420p", {"b": "2M", "bf": "2"}),
        ("h264.ts", "libx264", "yuv420p", {}),
        ("mpeg2.mpg", "mpeg2video", "yuv420p", {"b": "2M", "bf": "2"}),
        ("mjpeg.mov", "mjpeg", "yuvj420p", {}),
        ("h264.flv", "libx264", "yuv420p", {}),
    ],
)
def test_frames_are_the_ones_their_numbers_say(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / name, FRAMES, codec, pixels=pixels, options=options)
    for policy in (EVEN, ClipFrames(clips=3, length=4, stride=2)):
        frames = list(read_frames(path, policy))
        expected = choose_frames(policy, COUNT)
        assert [(frame.number, frame.run) for frame in frames] == expected
        assert [number_of(frame.rgb) for frame in frames] == [number for number, _ in expected]
        first = frames[0].time_ms - frames[0].number * 40
        assert [frame.time_ms - first for frame in frames] == pytest.approx([n * 40 for n, _ in expected], abs=1)


def test_evenly_does_not_mean_the_first(plain: Path) -> None:
    numbers = [number_of(frame.rgb) for frame in read_frames(plain, EVEN)]
    assert (numbers[0], numbers[-1]) == (0, COUNT - 1)
    assert set(np.diff(numbers)) <= {14, 15}


def test_chosen_frames_equal_those_of_decoding_everything(tmp_path: Path) -> None:
    for options in ({"x264-params": "bframes=5:b-pyramid=2:keyint=40:ref=4"}, OPEN_GOP):
        path = write_clip(tmp_path / "clip.mp4", FRAMES, options=options)
        with av.open(str(path)) as container:
            everything = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        for frame in read_frames(path, ClipFrames(clips=4, length=5, stride=3)):
            assert np.array_equal(frame.rgb, everything[frame.number])


def test_only_what_is_needed_is_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", FRAMES, options={"g": "10"})
    with open_video(path, VideoLimits(), 1) as (container, video):
        timeline = scan(container, video, VideoLimits())
        assert timeline is not None
        assert timeline.packets is not None
        needed = stretches([timeline.pts[number] for number in (0, 45, 89)], timeline.packets)
    assert sum(one.last - one.first + 1 for one in needed) <= 1 + 10 + 10


def test_variable_frame_rate_keeps_exact_times(tmp_path: Path) -> None:
    times = [int(value) for value in np.cumsum(np.random.default_rng(3).integers(5, 90, COUNT))]
    times = [time - times[0] for time in times]
    path = write_clip(tmp_path / "vfr.mkv", FRAMES, times=times)
    frames = list(read_frames(path, EVEN))
    assert [frame.time_ms for frame in frames] == [times[frame.number] for frame in frames]
    assert [number_of(frame.rgb) for frame in frames] == [frame.number for frame in frames]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = write_clip(
        tmp_path / "turned.mp4", [np.rot90(rgb, -rotation // 90) for rgb in FRAMES[:9]], rotation=rotation
    )
    frames = list(read_frames(path, EvenFrames(count=3)))
    assert [number_of(frame.rgb) for frame in frames] == [0, 4, 8]
    facts = probe(path)
    assert (facts.height, facts.width) == FRAMES[0].shape[:2]
    assert facts.rotation == rotation % 360


def test_interlaced_frames_hold_one_moment(tmp_path: Path) -> None:
    """Lines of two moments are woven together; of a still picture nothing may be lost but half of the lines."""
    woven = []
    for number in range(8):
        rgb = np.full((64, 96, 3), 40, np.uint8)
        rgb[0::2, 8 * number : 8 * number + 16] = 220
        rgb[1::2, 8 * number + 8 : 8 * number + 24] = 220
        woven.append(rgb)
    options = {"flags": "+ilme+ildct", "b": "4M", "top": "1"}
    path = write_clip(tmp_path / "interlaced.ts", woven, "mpeg2video", options=options)
    with av.open(str(path)) as container:
        if not any(frame.interlaced_frame for frame in container.decode(video=0)):
            pytest.fail("the encoder made no interlaced clip")
    for frame in read_frames(path, EvenFrames(count=4)):
        combed = np.abs(np.diff(frame.rgb[:, :, 0].astype(int), axis=0))
        assert np.percentile(combed, 99) < 60
        assert frame.rgb[:, 8 * frame.number + 4, 0].mean() > 150


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "deep.mkv", FRAMES[:5], "ffv1", pixels="yuv444p10le")
    frame = next(iter(read_frames(path, EvenFrames(count=1))))
    assert frame.rgb.dtype == np.uint8
    assert frame.number == 2
    assert np.abs(frame.rgb.astype(int) - FRAMES[2]).max() <= 4


def test_the_largest_of_several_streams_is_read(tmp_path: Path) -> None:
    small = [numbered(number + 100, 48, 32) for number in range(10)]
    path = write_streams(tmp_path / "two.mkv", [small, FRAMES[:10]])
    facts = probe(path)
    assert (facts.video_streams, facts.stream, facts.width) == (2, 1, 96)
    assert [number_of(frame.rgb) for frame in read_frames(path, EvenFrames(count=3))] == [0, 4, 9]


def test_sound_is_located(plain: Path) -> None:
    facts = probe(plain)
    (sound,) = facts.sound
    assert (sound.stream, sound.codec, sound.rate) == (1, "aac", 48000)
    assert sound.seconds == pytest.approx(3.6, abs=0.1)
    assert (facts.codec, facts.frames, facts.rate, facts.container) == ("h264", COUNT, 25.0, "mov")


def test_bytes_streams_and_files_read_alike(plain: Path) -> None:
    content = plain.read_bytes()
    texts = [
        [(frame.number, frame.time_ms, frame.rgb.tobytes()) for frame in read_frames(source, EVEN)]
        for source in (plain, content, io.BytesIO(content))
    ]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (VideoLimits(max_bytes=1000), "too-many-bytes"),
        (VideoLimits(max_seconds=3.0), "too-long"),
        (VideoLimits(max_frames=COUNT - 1), "too-many-frames"),
        (VideoLimits(max_pixels=96 * 63), "too-large"),
    ],
)
def test_limits(plain: Path, limits: VideoLimits, reason: str) -> None:
    with pytest.raises(BadInputError) as caught:
        list(read_frames(plain, EVEN, limits))
    assert caught.value.reason == reason
    assert list(read_frames(plain, EVEN, VideoLimits(max_bytes=plain.stat().st_size, max_frames=COUNT)))


def test_a_frame_rate_that_lies_does_not_evade_the_limit_on_time(tmp_path: Path) -> None:
    """A transport stream has no header that says how long it is."""
    path = write_clip(tmp_path / "long.ts", FRAMES[:20], times=[number * 1000 for number in range(20)])
    with pytest.raises(BadInputError) as caught:
        list(read_frames(path, EVEN, VideoLimits(max_seconds=10)))
    assert caught.value.reason == "too-long"


def test_lists_of_other_files_are_no_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "secret.mp4", FRAMES[:3])
    for text in (f"#EXTM3U\n#EXTINF:1,\n{clip}\n", f"ffconcat version 1.0\nfile {clip}\n"):
        listed = tmp_path / "list.mp4"
        listed.write_text(text)
        with pytest.raises(BadInputError) as caught:
            list(read_frames(listed, EVEN))
        assert caught.value.reason == "not-video"


def test_what_looks_like_video(plain: Path) -> None:
    assert looks_like_video(plain.read_bytes())
    assert not looks_like_video(b"")
    assert not looks_like_video(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert not looks_like_video(b"\0\0\0\x20ftypavif" + bytes(100))


def test_malformed_clips_give_reasons_or_frames(malformed_clips: dict[str, bytes]) -> None:
    assert len(malformed_clips) == 60
    reasons = {}
    for name, content in malformed_clips.items():
        try:
            assert list(read_frames(content, EVEN))
        except BadInputError as error:
            assert error.detail
            reasons[name] = error.reason
    assert {reasons.get(name) for name in malformed_clips if name.startswith("cut") and not name.endswith(".ts")} == {
        "truncated-video"
    }
    expected = {"empty.mp4": "empty", "text.mp4": "not-video", "picture.mp4": "not-video"}
    expected |= {"sound-only.mp4": "no-video-stream", "no-frames.mp4": "no-frames"}
    assert expected.items() <= reasons.items()
    assert "wrong.avi" not in reasons


def test_real_clips_equal_decoding_everything(real_media: Path) -> None:
    path = real_media / "talking_heads/d18.mp4"
    with av.open(str(path)) as container:
        everything = {n: (f.time, f.to_ndarray(format="rgb24")) for n, f in enumerate(container.decode(video=0))}
    frames = list(read_frames(path, EvenFrames(count=9)))
    assert (frames[0].number, frames[-1].number) == (0, len(everything) - 1)
    for frame in frames:
        assert frame.time_ms == pytest.approx(everything[frame.number][0] * 1000, abs=0.01)
        assert np.array_equal(frame.rgb, everything[frame.number][1])


def test_every_real_clip_can_be_opened(real_media: Path) -> None:
    for path in sorted(real_media.glob("*/*/*.mp4"))[::10]:
        with VideoReader(path) as reader:
            assert reader.count >= 20


@pytest.mark.parametrize("name", ["seek.mp4", "seek.mkv", "seek.ts", "seek.avi"])
def test_seeking_leads_to_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, FRAMES, codec, options={"g": "10"})
    read = [(frame.number, frame.time_ms, frame.rgb.tobytes()) for frame in read_frames(path, EVEN)]
    monkeypatch.setattr("media.video.stretches._SEEK_BYTES", 0)
    sought = [(frame.number, frame.time_ms, frame.rgb.tobytes()) for frame in read_frames(path, EVEN)]
    assert sought == read


def test_a_clip_whose_frames_change_in_size_is_refused(tmp_path: Path) -> None:
    """Boxes of one size mean nothing in another, and a stream may grow beyond what its header was checked for."""
    small = write_clip(tmp_path / "small.ts", FRAMES[:10], "mpeg2video", options={"b": "1M"})
    large = [numbered(number, 192, 128) for number in range(10)]
    grown = tmp_path / "grown.ts"
    grown.write_bytes(small.read_bytes() + write_clip(tmp_path / "large.ts", large, "mpeg2video").read_bytes())
    with pytest.raises(BadInputError) as caught:
        list(read_frames(grown, EVEN))
    assert caught.value.reason == "damaged-video"


def test_threads_do_not_change_what_is_read(plain: Path) -> None:
    one, two = ([frame.rgb.tobytes() for frame in read_frames(plain, EVEN, threads=n)] for n in (1, 2))
    assert one == two
