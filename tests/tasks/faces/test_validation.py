"""Validation on clips of faces, with a network whose answer is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from data.index import read_index
from data.shards import ShardReader
from judging.guard import SplitLeakError
from media.spec import InputSpec
from tasks.faces.validation import validate
from tasks.task import ValidationRequest

FIGURES = ["loss", "auc", "frame_auc", "eer", "threshold", "balanced_accuracy", "authentic_fpr"]


class Mean(nn.Module):
    """Judges a frame by its brightness, and a clip by the mean of its frames."""

    def forward(self, views: dict[str, torch.Tensor], lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits [N, 1], or [B, 1] with lengths."""
        assert not self.training
        frames = views["face"].mean(dim=(1, 2, 3))[:, None]
        if lengths is None:
            return frames
        return torch.stack([clip.mean(dim=0) for clip in frames.split(lengths.tolist())])


def _request(index, clips: bool, **changes) -> ValidationRequest:
    views = {"face": {"size": 64, "margin": 1.0}}
    keys = {
        "network": Mean().train(), "index": index, "reader": ShardReader(index.shards), "clips": clips,
        "input": InputSpec(views=views, frames=2 if clips else 1), "device": torch.device("cpu"),
        "batch_size": 4, "precision": "fp32", "max_authentic_fpr": 1.0,
    }  # fmt: skip
    return ValidationRequest(**{**keys, **changes})


def _validate_on(world: int, request: ValidationRequest) -> dict[str, float]:
    """Let so many processes validate together, one after the other; return the figures of the first."""
    items: list = []

    def gather(item):
        items.insert(0, item)  # the first process comes last here
        return items if len(items) == world else None

    for rank in range(world - 1, 0, -1):
        assert validate(replace(request, rank=rank, world=world, gather=gather)) is None
    figures = validate(replace(request, rank=0, world=world, gather=gather))
    assert figures is not None
    return figures


@pytest.mark.parametrize("clips", [False, True])
def test_the_figures_are_those_of_whole_media(tiny_faces, clips):
    index = read_index(tiny_faces).where(split="val")
    request = _request(index, clips)
    figures = validate(request)
    assert list(figures) == FIGURES
    assert figures["loss"] > 0 and 0 <= figures["auc"] <= 1
    assert request.network.training
    other = validate(_request(index, clips, batch_size=1))
    assert other == pytest.approx(figures, abs=1e-6)


@pytest.mark.parametrize("world", [2, 3, 20])
@pytest.mark.parametrize("clips", [False, True])
def test_several_processes_come_to_the_figures_of_one(tiny_faces, clips, world):
    request = _request(read_index(tiny_faces).where(split="val"), clips, batch_size=3)
    assert _validate_on(world, request) == pytest.approx(validate(request), abs=1e-9)


def test_only_val_may_choose(tiny_faces):
    with pytest.raises(SplitLeakError):
        validate(_request(read_index(tiny_faces).where(split="test"), clips=False))
