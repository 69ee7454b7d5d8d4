"""Validation on the tiny data set, with networks whose answer is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from data.index import read_index
from data.shards import ShardReader
from judging.guard import SplitLeakError
from media.spec import InputSpec
from tasks.regions.validation import validate
from tasks.task import ValidationRequest


class Bright(nn.Module):
    """Calls bright pixels forged, by a layer whose normalisation is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, views: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return logits [N, 1, S, S]."""
        assert not self.training
        return self.norm(views["tiles"]).mean(dim=1, keepdim=True)


def _request(index, network, **changes) -> ValidationRequest:
    keys = {
        "network": network, "index": index, "reader": ShardReader(index.shards), "clips": False,
        "input": InputSpec(views={"tiles": {"size": 64, "overlap": 16}}), "device": torch.device("cpu"),
        "batch_size": 4, "precision": "fp32", "max_authentic_fpr": 0.5,
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


@pytest.fixture(scope="module")
def val(tiny_dataset):
    return read_index(tiny_dataset).where(split="val")


def test_the_figures_are_those_at_the_chosen_point(val):
    figures = validate(_request(val, Bright()))
    assert list(figures) == [
        "f1", "iou", "authentic_fpr", "authentic_fp_fraction", "auc", "threshold", "min_area_fraction", "meets_ceiling"
    ]  # fmt: skip
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["meets_ceiling"] == (figures["authentic_fpr"] <= 0.5)
    assert validate(_request(val, Bright(), batch_size=1)) == pytest.approx(figures, abs=1e-6)


@pytest.mark.parametrize("world", [2, 4, 9])  # of six pictures
def test_several_processes_come_to_the_figures_of_one(val, world):
    request = _request(val, Bright(), batch_size=3)
    expected = validate(request)
    assert _validate_on(world, request) == pytest.approx(expected, abs=1e-9)


def test_the_modes_of_all_layers_are_put_back(val):
    network = Bright().train()
    network.norm.eval()
    validate(_request(val, network))
    assert network.training and not network.norm.training


def test_only_val_may_choose(tiny_dataset):
    with pytest.raises(SplitLeakError):
        validate(_request(read_index(tiny_dataset).where(split="train"), Bright()))
