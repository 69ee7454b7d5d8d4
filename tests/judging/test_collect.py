import json

import pytest

from core.errors import BadInputError, SettingsError
from judging.collect import Rejections, TopPictures
from judging.report import Figure
from judging.settings import InferenceSettings


def test_a_picture_rejected_in_several_passes_has_one_line(tmp_path):
    rejections = Rejections()
    row = {"sample_id": "s1", "media_id": "set/x/1.png"}
    for _ in range(3):
        rejections(row, BadInputError("truncated", "the file ends early"))
    rejections({"sample_id": "s2", "media_id": "set/x/2.png"}, BadInputError("empty", "no bytes"))
    rejections.write(tmp_path / "rejected.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert len(rejections) == 2
    assert lines[0] == {"name": "set/x/1.png", "reason": "truncated", "detail": "the file ends early"}
    assert lines[1]["name"] == "set/x/2.png"


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]])
def test_the_highest_are_kept_whatever_the_order_and_only_they_are_drawn(order):
    ranks = [0.1, 0.9, 0.5, 0.9, 0.3]
    top, drawn = TopPictures(3), []

    def draw(number):
        drawn.append(number)
        return Figure(b"", str(number))

    for number in order:
        top.offer(ranks[number], f"s{number}", lambda n=number: draw(n))
    assert [figure.caption for figure in top.figures()] == ["3", "1", "2"]
    assert order != [4, 3, 2, 1, 0] or 0 not in drawn


def test_a_gallery_of_none_draws_nothing():
    top = TopPictures(0)
    top.offer(1.0, "s", lambda: pytest.fail("drawn"))
    assert top.figures() == []


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"inference\.device"):
        InferenceSettings(device="cuda").torch_device()
    assert InferenceSettings().torch_device().type == "cpu"
