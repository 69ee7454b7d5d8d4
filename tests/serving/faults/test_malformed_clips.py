"""Sixty clips that are cut off, damaged, mislabelled or empty of video: refused with a reason, or judged."""

import json
from collections.abc import Callable
from typing import Any

REASONS = {
    "damaged-video",
    "no-frames",
    "no-video-stream",
    "not-video",
    "too-large",
    "too-long",
    "too-many-frames",
    "truncated-video",
}


def test_each_is_refused_with_a_reason_or_judged(face_target: Any, malformed_clips: dict[str, bytes]) -> None:
    reasons: dict[str, str] = {}
    for name, data in malformed_clips.items():
        reply = face_target.analyze(data, "?heatmaps=0")
        assert reply.status in (200, 415, 422), (name, reply)
        if reply.status != 200:
            reasons[name] = reply.reason
            assert reply.reason in (REASONS if reply.status == 422 else {"unsupported-media"}), name
        elif name != "picture.mp4":
            assert json.loads(reply.body)["outcome"] in ("judged", "no_face", "too_short", "abstained"), name
    assert len(malformed_clips) == 60
    cut = {name for name in malformed_clips if name.startswith("cut") and not name.endswith(".ts")}
    assert {reasons.get(name) for name in cut} == {"truncated-video"}
    expected = {"empty.mp4": "unsupported-media", "text.mp4": "unsupported-media"}
    expected |= {"sound-only.mp4": "no-video-stream", "no-frames.mp4": "no-frames"}
    assert expected.items() <= reasons.items()
    assert not {"wrong.avi", "picture.mp4"} & reasons.keys()  # right in all but their names
    assert "Traceback" not in face_target.server.log


def test_none_of_them_leaves_anything_behind(
    face_target: Any, malformed_clips: dict[str, bytes], clip: Callable[..., bytes]
) -> None:
    def send_all() -> None:
        for data in malformed_clips.values():
            assert face_target.analyze(data, "?heatmaps=0").status in (200, 415, 422)

    send_all()
    resident, descriptors = face_target.resident, face_target.descriptors
    for _ in range(2):
        send_all()
    assert face_target.resident - resident < 16 * 2**20
    assert face_target.until(lambda: face_target.descriptors <= descriptors)
    assert face_target.until(lambda: face_target.metric("in_flight") == face_target.metric("queue_depth") == 0)
    assert json.loads(face_target.analyze(clip(24), "").body)["outcome"] == "judged"
    assert face_target.server.status is None
