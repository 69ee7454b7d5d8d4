import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from media.spec import InputSpec
from models.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from models.family import FAMILIES
from models.genconvit.network import GenConViTOutput

FAMILY = FAMILIES.get("genconvit")
SIDE = 8


def output(**changes: Tensor) -> GenConViTOutput:
    whole = {
        "logits_a": torch.zeros(2, 1),
        "logits_b": torch.tensor([[-50.0], [50.0]]),
        "reconstruction_a": torch.full((2, 3, SIDE, SIDE), 0.5),
        "reconstruction_b": torch.full((2, 3, SIDE, SIDE), 0.2),
        "mu": torch.zeros(2, 5, 2, 2),
        "log_variance": torch.zeros(2, 5, 2, 2),
        "batches": torch.tensor(50),
    }
    return GenConViTOutput(**(whole | changes))


def loss(result: GenConViTOutput, **settings: Any) -> dict[str, float]:
    views = {"face": torch.full((2, 3, SIDE, SIDE), 51, dtype=torch.uint8)}
    batch = {"views": views, "label": torch.tensor([0, 1])}
    terms = FAMILY.loss(FAMILY.loss_settings(**settings))(result, batch)
    return {name: term.item() for name, term in terms.items()}


def test_each_part_is_given_and_the_whole_is_their_weighted_sum() -> None:
    terms = loss(
        output(mu=torch.full((2, 5, 2, 2), 2.0)),
        cross_entropy_weight=2.0,
        autoencoder_weight=3.0,
        vae_weight=5.0,
        kl_weight=7.0,
        kl_warmup_batches=100,
    )
    kl = 20 * 0.5 * 4 / (3 * SIDE * SIDE)  # 20 latents at mu = 2, over the values of a picture
    parts = {"cross_entropy_a": math.log(2), "cross_entropy_b": 0.0, "mse_a": 0.09, "mse_b": 0.0, "kl": kl}
    whole = 2 * math.log(2) / 2 + 3 * 0.09 + 5 * (0.0 + 0.5 * 7 * kl)
    assert terms == pytest.approx({"loss": whole, **parts, "kl_warmup": 0.5}, abs=1e-6)


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mu, log_variance = torch.randn(2, 5, 2, 2), torch.randn(2, 5, 2, 2)
    expected = kl_divergence(Normal(mu, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum() / 2 / (3 * SIDE * SIDE)
    assert loss(output(mu=mu, log_variance=log_variance))["kl"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("batches", "warmup", "expected"), [(1, 100, 0.01), (100, 100, 1.0), (5000, 100, 1.0), (1, 0, 1.0)]
)
def test_the_divergence_is_warmed_up(batches: int, warmup: int, expected: float) -> None:
    assert loss(output(batches=torch.tensor(batches)), kl_warmup_batches=warmup)["kl_warmup"] == pytest.approx(expected)


@pytest.fixture(scope="module")
def built() -> Any:
    torch.manual_seed(0)
    settings = FAMILY.settings(
        backbones=("test_efficientnet", "test_convnext"),
        weights=("random", "random"),
        autoencoder_widths=(8, 16),
        latent_width=8,
    )
    input_spec = InputSpec.model_validate({"views": {"face": {"mean": (0, 0, 0), "std": (1, 1, 1)}}})
    return FAMILY.build(settings, input_spec, ("real", "manipulated"), pretrained=False)


def test_the_warm_up_counts_training_batches_and_survives_an_interruption(built: Any, tmp_path: Path) -> None:
    network, views = copy.deepcopy(built), {"face": torch.rand(2, 3, 64, 64)}
    with torch.no_grad():
        assert [network(views).batches.item() for _ in range(3)] == [1, 2, 3]
        network.eval()(views)
        save_checkpoint(tmp_path / "step.pth", Checkpoint(epoch=0, model_state_dict=network.state_dict()))
        resumed = copy.deepcopy(built)
        resumed.load_state_dict(read_checkpoint(tmp_path / "step.pth").model_state_dict)
        assert resumed.train()(views).batches.item() == 4


def test_reconstruction_is_learnt_on_both_paths(built: Any) -> None:
    network, pixels = copy.deepcopy(built).train(), torch.rand(4, 3, 1, 1).expand(4, 3, 64, 64).contiguous()
    batch: Any = {"views": {"face": (pixels * 255).byte()}, "label": torch.tensor([0, 1, 0, 1])}
    criterion = FAMILY.loss(FAMILY.loss_settings())
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    history = []
    for _ in range(40):
        terms = criterion(network({"face": batch["views"]["face"] / 255}), batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    for name in ("mse_a", "mse_b"):
        assert history[-1][name] < 0.5 * history[0][name]
