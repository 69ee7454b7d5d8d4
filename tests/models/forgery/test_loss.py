"""The loss of the forgery family against numbers worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from core.errors import SettingsError
from core.settings import validate
from models.forgery.loss import ForgeryLoss
from models.forgery.settings import ForgeryLossSettings

# logit -ln 3, 0, ln 3 have the probabilities 1/4, 1/2, 3/4.
LN3 = math.log(3)
FORGED = ([[LN3, -LN3]], [[1, 0]])  # p = 3/4 on the forged pixel, 1/4 on the other
AUTHENTIC = ([[0.0, -LN3]], [[0, 0]])  # p = 1/2 and 1/4

PAPER = {"focal_form": "paper", "authentic_mean": "authentic"}


def paper(**settings: float) -> ForgeryLoss:
    return ForgeryLoss(validate(ForgeryLossSettings, PAPER | settings, "loss"))


def batch(*images: tuple[list[list[float]], list[list[int]]]) -> tuple[Tensor, dict[str, Tensor]]:
    logits = torch.tensor([[image[0]] for image in images], requires_grad=True)
    return logits, {"mask": torch.tensor([[image[1]] for image in images], dtype=torch.uint8)}


def values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term) for name, term in terms.items()}


def test_a_mixed_batch_gives_the_numbers_worked_by_hand_of_the_published_form() -> None:
    terms = values(ForgeryLoss(ForgeryLossSettings())(*batch(FORGED, AUTHENTIC)))
    # Focal: alpha on every pixel. Three with p_t = 3/4: (1/4)^2 · ln(4/3) = 0.017980 each, one with 1/2: (1/2)^2 · ln 2
    #        = 0.173287; 0.25 · (3 · 0.017980 + 0.173287) / 4 = 0.25 · 0.227227 / 4 = 0.014202
    assert terms["focal"] == pytest.approx(0.014202, abs=1e-6)
    assert terms["dice"] == pytest.approx(1 / 3, abs=1e-6)
    # Authentic: (1/2 + 1/4) over the four pixels of both images
    assert terms["authentic"] == pytest.approx(0.1875, abs=1e-6)
    # 0.5 · 0.014202 + 0.5 / 3 + 4 · 0.1875 = 0.007101 + 0.166667 + 0.75
    assert terms["loss"] == pytest.approx(0.923768, abs=1e-6)


def test_alpha_only_scales_the_published_focal_term() -> None:
    one, three = (
        values(ForgeryLoss(ForgeryLossSettings(focal_alpha=alpha))(*batch(FORGED, AUTHENTIC)))["focal"]
        for alpha in (0.25, 0.75)
    )
    assert three == pytest.approx(3 * one)


def test_the_published_penalty_grows_with_the_share_of_authentic_images() -> None:
    half, whole = (
        values(ForgeryLoss(ForgeryLossSettings())(*batch(*images)))["authentic"]
        for images in ((FORGED, AUTHENTIC), (AUTHENTIC, AUTHENTIC))
    )
    assert (half, whole) == pytest.approx((0.1875, 0.375))


def test_a_mixed_batch_gives_the_numbers_worked_by_hand_of_the_papers_form() -> None:
    terms = values(paper()(*batch(FORGED, AUTHENTIC)))
    # Focal: forged pixel, p_t = 3/4:      0.25 · (1/4)² · ln(4/3) = 0.25 · 0.0625 · 0.287682 = 0.004495
    #        two others with p_t = 3/4:    0.75 · (1/4)² · ln(4/3) = 0.75 · 0.0625 · 0.287682 = 0.013485 each
    #        the one with p_t = 1/2:       0.75 · (1/2)² · ln 2    = 0.75 · 0.25   · 0.693147 = 0.129965
    #        mean of four: (0.004495 + 2 · 0.013485 + 0.129965) / 4 = 0.161430 / 4 = 0.040358
    assert terms["focal"] == pytest.approx(0.040358, abs=1e-6)
    # Dice: intersection 3/4, sum of p = 3/4 + 1/4 + 1/2 + 1/4 = 7/4, sum of target = 1:
    #       1 - (2 · 3/4 + 1) / (7/4 + 1 + 1) = 1 - 2.5 / 3.75 = 1/3
    assert terms["dice"] == pytest.approx(1 / 3, abs=1e-6)
    # Authentic: the second image alone, (1/2 + 1/4) / 2 = 3/8
    assert terms["authentic"] == pytest.approx(0.375, abs=1e-6)
    # 0.5 · 0.040358 + 0.5 / 3 + 4 · 0.375 = 0.020179 + 0.166667 + 1.5
    assert terms["loss"] == pytest.approx(1.686845, abs=1e-6)


def test_without_an_authentic_image_that_term_is_zero_and_gradient_flows() -> None:
    logits, sample = batch(FORGED)
    terms = paper()(logits, sample)
    # Focal: (0.004495 + 0.013485) / 2 = 0.008990. Dice: 1 - (1.5 + 1) / (1 + 1 + 1) = 1/6.
    assert values(terms) == pytest.approx(
        {"focal": 0.008990, "dice": 1 / 6, "authentic": 0.0, "loss": 0.004495 + 1 / 12}, abs=1e-6
    )
    terms["loss"].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 0, 0] < 0 < logits.grad[0, 0, 0, 1]  # up on the forged pixel, down on the other


def test_without_a_forged_image_every_probability_is_pushed_down() -> None:
    logits, sample = batch(AUTHENTIC)
    terms = paper()(logits, sample)
    # Focal: (0.129965 + 0.013485) / 2 = 0.071725. Dice: 1 - 1 / (3/4 + 0 + 1) = 3/7. Authentic: 3/8.
    expected = {"focal": 0.071725, "dice": 3 / 7, "authentic": 0.375, "loss": 0.0358625 + 3 / 14 + 1.5}
    assert values(terms) == pytest.approx(expected, abs=1e-6)
    terms["loss"].backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_weights_scale_the_terms_and_leave_the_logged_ones() -> None:
    terms = values(paper(focal_weight=2, dice_weight=3, authentic_weight=0)(*batch(FORGED, AUTHENTIC)))
    assert terms["loss"] == pytest.approx(2 * 0.040358 + 3 / 3, abs=1e-5)
    assert terms["authentic"] == pytest.approx(0.375)


def test_a_larger_tversky_beta_charges_more_for_missed_pixels() -> None:
    terms = values(paper(tversky_beta=0.75)(*batch(FORGED, AUTHENTIC)))
    # I = 3/4 on the forged pixel, F = 1/4 + 1/2 + 1/4 = 1 on the others, M = 1/4 missed:
    # 1 - (1.5 + 1) / (1.5 + 2 · 0.25 · 1 + 2 · 0.75 · 0.25 + 1) = 1 - 2.5 / 3.375 = 0.259259
    assert terms["dice"] == pytest.approx(0.259259, abs=1e-6)
    missed = batch(([[-LN3, -LN3]], [[1, 0]]))
    dice, leaning = (values(paper(tversky_beta=beta)(*missed))["dice"] for beta in (0.5, 0.75))
    assert leaning > dice


def test_focal_alpha_weighs_forged_pixels() -> None:
    terms = values(paper(focal_alpha=0.75)(*batch(FORGED)))
    # The weights swap: (0.75 · 0.0625 · 0.287682 + 0.25 · 0.0625 · 0.287682) / 2, the same by symmetry ...
    assert terms["focal"] == pytest.approx(0.008990, abs=1e-6)
    terms = values(paper(focal_alpha=0.75)(*batch(AUTHENTIC)))
    # ... and a third of the published term where nothing is forged: 0.071725 / 3
    assert terms["focal"] == pytest.approx(0.023908, abs=1e-6)


def test_a_crop_without_forged_pixels_counts_as_authentic() -> None:
    logits, sample = batch(AUTHENTIC)
    terms = paper()(logits, sample | {"label": torch.tensor([1])})
    assert float(terms["authentic"]) == pytest.approx(0.375)


def test_half_precision_logits_are_summed_in_float32_under_autocast() -> None:
    # The sum of 512 · 512 probabilities of 1/2 is 131,072; float16 ends at 65,504.
    logits = torch.zeros(1, 1, 512, 512, dtype=torch.float16)
    sample = {"mask": torch.ones(1, 1, 512, 512, dtype=torch.uint8)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = paper()(logits, sample)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    # 1 - (2 · 131072 + 1) / (131072 + 262144 + 1)
    assert float(terms["dice"]) == pytest.approx(1 - 262145 / 393217, abs=1e-6)


@given(
    scale=st.sampled_from([1.0, 100.0, 1e4, 1e30]),
    seed=st.integers(0, 2**16),
    forged=st.sampled_from([0.0, 0.1, 1.0]),
    gamma=st.sampled_from([0.0, 1.0, 2.0, 3.5]),
)
def test_terms_and_gradients_stay_finite_for_any_logits(scale: float, seed: int, forged: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(2, 1, 3, 3, generator=generator) * scale).requires_grad_()
    sample = {"mask": (torch.rand(2, 1, 3, 3, generator=generator) < forged).to(torch.uint8)}
    terms = paper(focal_gamma=gamma)(logits, sample)
    assert 0 <= terms["dice"] <= 1
    assert 0 <= terms["authentic"] <= 1
    assert terms["focal"] >= 0
    terms["loss"].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_gamma_whose_gradient_is_infinite_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"focal_gamma = 0\.5: .*must be 0, or 1 and more"):
        validate(ForgeryLossSettings, {"focal_gamma": 0.5}, "recipe")
