"""Members whose optional views are missing abstain; a toy view shows nothing of dark crops."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pytest import approx

from bundle.faces.documents import FaceOptions
from bundle.faces.verdict import FaceDecision
from bundle.reading import VerifiedBundle
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.spec import InputSpec
from serving.workbench import ServerWorkbench
from tests.clips import portrait as make_portrait
from tests.clips import write_clip
from tests.serving.toys import analyzer, mean_of, verified, workbench, write_glint

FACE = {"face": {"size": 32}}
GLINT = {"glint": {"size": 32}}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., VerifiedBundle]:
    """Describes a bundle with members of these views: ``bundle(plain=FACE, both=FACE | GLINT)``."""
    monkeypatch.setenv("VERIFRAME_EXTENSIONS", str(write_glint(tmp_path / "toys")))
    extraction = ExtractionSpec(decoder="pyav", frames=EvenFrames(count=8), faces=FaceSpec(), store="png")

    def describe(**members: dict[str, Any]) -> VerifiedBundle:
        inputs = {name: InputSpec.model_validate({"views": views}) for name, views in members.items()}
        return verified("faces", FaceDecision(threshold=0.5), inputs, extraction=extraction)

    return describe


def bench() -> ServerWorkbench:
    return workbench({"plain": mean_of("face"), "both": mean_of("face", "glint"), "glint": mean_of("glint")})


def png(brightness: float) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((make_portrait(0, side=256) * brightness).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def analyze(bundle: VerifiedBundle, bench: ServerWorkbench, data: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        asyncio.run(analyzer(bundle, bench).analyze_picture(data, FaceOptions(heatmaps=0)))
    )
    return answer


def test_where_every_view_is_there_all_members_speak(bundle: Callable[..., VerifiedBundle]) -> None:
    answer = analyze(bundle(plain=FACE, both=FACE | GLINT), bench(), png(1.0))
    assert answer["abstained"] == []
    assert [member["name"] for member in answer["members"]] == ["plain", "both"]
    mean = np.mean([member["probability"] for member in answer["members"]])
    assert answer["probability"] == approx(mean, abs=2e-6)


def test_a_member_without_its_view_abstains_and_the_others_weigh_all(bundle: Callable[..., VerifiedBundle]) -> None:
    lent = bench()
    answer = analyze(bundle(plain=FACE, both=FACE | GLINT), lent, png(0.25))
    assert (answer["outcome"], answer["abstained"]) == ("judged", ["both"])
    assert [face["abstained"] for face in answer["faces"]] == [["both"]]
    assert [member["name"] for member in answer["members"]] == ["plain"]
    assert answer["probability"] == answer["members"][0]["probability"]
    exposed = lent.metrics.render().decode()
    assert 'veriframe_score_count{member="plain"} 1.0' in exposed
    assert 'member="both"' not in exposed


def test_where_all_abstain_there_is_no_verdict(bundle: Callable[..., VerifiedBundle]) -> None:
    lent = bench()
    answer = analyze(bundle(both=FACE | GLINT, glint=GLINT), lent, png(0.25))
    assert (answer["outcome"], answer["verdict"], answer["probability"]) == ("abstained", None, None)
    assert answer["abstained"] == ["both", "glint"]
    assert answer["faces"] == answer["members"] == answer["heatmaps"] == []
    assert 'veriframe_outcomes_total{outcome="abstained"} 1.0' in lent.metrics.render().decode()


def test_a_view_that_some_frames_lack_is_read_with_its_presence(
    bundle: Callable[..., VerifiedBundle], tmp_path: Path
) -> None:
    brightness = np.linspace(1.0, 0.4, 24)
    pictures = [
        np.asarray(cv2.convertScaleAbs(make_portrait(number), alpha=float(share)))
        for number, share in enumerate(brightness)
    ]
    clip = write_clip(tmp_path / "clip.mp4", pictures, options={"preset": "ultrafast", "g": "12"}).read_bytes()
    seen: list[bool] = []
    whole = mean_of("face", "glint")

    def watched(inputs: Any) -> Any:
        seen.extend(inputs["glint_present"].tolist())
        return whole(inputs)

    found = analyzer(bundle(both=FACE | GLINT), workbench({"both": watched}, min_frames=1))
    answer = json.loads(asyncio.run(found.analyze_video(io.BytesIO(clip), FaceOptions(heatmaps=0))))
    assert (answer["outcome"], answer["abstained"]) == ("judged", [])
    assert set(seen) == {True, False}


def test_views_that_members_share_are_cut_once(
    bundle: Callable[..., VerifiedBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = bundle(plain=FACE, both=FACE | GLINT)
    kind = type(described.document.members[0].input.views["face"])
    cuts: list[int] = []
    cut = kind.cut

    def counted(self: Any, sample: Any) -> Any:
        cuts.append(1)
        return cut(self, sample)

    monkeypatch.setattr(kind, "cut", counted)
    analyze(described, bench(), png(1.0))
    assert len(cuts) == 1
