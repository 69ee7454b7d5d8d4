"""Batch normalisation over two real processes."""

import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from components.train.norms import synchronize

PATIENCE = 120  # seconds


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, momentum=None))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return network


def _images() -> Tensor:
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 100 + 1000  # a mean that costs digits


def _run(network: nn.Module, images: Tensor, world: int) -> dict[str, Tensor]:
    """Return outputs, gradients (averaged over processes, as is done) and buffers after two passes."""
    for _ in range(2):
        network.zero_grad()
        output = network(images)
        (output.square().mean() + output[:, 0].sin().mean()).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    for gradient in gradients.values():
        if world > 1:
            dist.all_reduce(gradient)
            gradient /= world
    network.eval()
    return {**gradients, **dict(network.named_buffers()), "output": output.detach(), "eval": network(images).detach()}


def _be(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    network = synchronize(_network(), torch.device("cpu"))
    torch.save(_run(network, _images()[3 * rank : 3 * rank + 3], world=2), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_normalise_as_one_does(clean_processes, tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    ranks = [clean_processes.Process(target=_be, args=(rank, port, tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(PATIENCE)
        assert process.exitcode == 0
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, expected in _run(_network(), _images(), world=1).items():
        found = torch.cat([half[name] for half in halves]) if name in ("output", "eval") else halves[0][name]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_for_a_gpu_the_activation_inside_a_layer_stays():
    network = synchronize(_network(), torch.device("cuda"))
    assert [isinstance(network[number], nn.SyncBatchNorm) for number in (1, 3)] == [True, True]
    assert isinstance(network[1].act, nn.ReLU)
