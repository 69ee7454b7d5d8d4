"""Two real processes over gloo take the step that one process takes on all of the batch."""

import multiprocessing
import os
import socket
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.family import FAMILIES
from models.genconvit.network import GenConViTOutput
from models.parallel import sum_over_processes
from models.spotter.network import SpotterOutput

PATIENCE = 120  # seconds
WORLD = 2


class Forgery(nn.Module):
    """Four pictures; their masks say which are forged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)

    def batch(self, part: slice, forged: list[int]) -> dict[str, Any]:
        mask = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        for picture in forged:
            mask[picture, :, : 1 + picture, :3] = 1
        return {"pixels": torch.randn(4, 3, 8, 8, generator=seeded())[part], "mask": mask[part]}

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        logits: Tensor = self.layer(batch["pixels"])
        return logits


class Spotter(nn.Module):
    """Four clips of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)

    def batch(self, part: slice, lengths: list[int]) -> dict[str, Any]:
        frames = torch.split(torch.randn(sum(lengths), 6, generator=seeded()), lengths)
        label = torch.tensor([0, 1, 1, 1])
        return {"frames": torch.cat(frames[part]), "lengths": torch.tensor(lengths)[part], "label": label[part]}

    def forward(self, batch: Mapping[str, Any]) -> SpotterOutput:
        logits = self.layer(batch["frames"])
        clips = [clip.mean(dim=0) for clip in torch.split(logits, batch["lengths"].tolist())]
        return SpotterOutput(torch.stack(clips), logits)


class GenConViT(nn.Module):
    """Four pictures, three of them of one class."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def batch(self, part: slice, label: list[int]) -> dict[str, Any]:
        pixels = (255 * torch.rand(4, 3, 8, 8, generator=seeded())).to(torch.uint8)
        return {"views": {"face": pixels[part]}, "label": torch.tensor(label)[part]}

    def forward(self, batch: Mapping[str, Any]) -> GenConViTOutput:
        made = self.layer(batch["views"]["face"] / 255)
        logits = made.mean(dim=(1, 2, 3)).unsqueeze(1)
        return GenConViTOutput(logits, 2 * logits, made.sigmoid(), made.tanh(), made, -made, torch.tensor(5))


NETWORKS = {"forgery": Forgery, "spotter": Spotter, "genconvit": GenConViT}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def step(family: str, content: list[int], part: slice, *, wrapped: bool) -> dict[str, dict[str, Tensor]]:
    """Do one backward pass on a part of the batch; return the gradients and the terms of the loss."""
    torch.manual_seed(0)
    network: Any = NETWORKS[family]()
    batch = network.batch(part, content)
    own = FAMILIES.get(family)
    model = DistributedDataParallel(network) if wrapped else network  # kept, since its hooks die with it
    terms = own.loss(own.loss_settings())(model(batch), batch)
    terms["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"gradients": gradients, "terms": {name: term.detach() for name, term in terms.items()}}


def be_rank(rank: int, port: int, family: str, content: list[int], folder: Path) -> None:
    """Be one of the processes, on its half of the batch."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    part = slice(rank * 4 // WORLD, (rank + 1) * 4 // WORLD)
    torch.save(step(family, content, part, wrapped=True), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"models.{family}.loss" for family in NETWORKS])
    return context


@pytest.mark.parametrize(
    ("family", "content"),
    [
        ("forgery", [0, 1]),  # the first process has all forged pictures, the second none
        ("forgery", [3]),
        ("forgery", [0, 2]),
        ("forgery", []),
        ("spotter", [1, 1, 4, 5]),  # the second process has nine of the eleven frames
        ("genconvit", [0, 0, 0, 1]),
    ],
)
def test_gradients_and_terms_are_those_of_one_process(
    family: str, content: list[int], processes: ForkServerContext, tmp_path: Path
) -> None:
    alone = step(family, content, slice(0, 4), wrapped=False)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    ranks = [processes.Process(target=be_rank, args=(rank, port, family, content, tmp_path)) for rank in range(WORLD)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(PATIENCE)
        assert process.exitcode == 0
    for rank in range(WORLD):
        together = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        for name, gradient in alone["gradients"].items():
            torch.testing.assert_close(together["gradients"][name], gradient, rtol=1e-5, atol=1e-7)
        for name, term in alone["terms"].items():
            torch.testing.assert_close(together["terms"][name], term, rtol=1e-5, atol=1e-7)


def test_a_single_process_has_what_it_has() -> None:
    value = torch.ones(3, requires_grad=True)
    assert sum_over_processes(value) is value
