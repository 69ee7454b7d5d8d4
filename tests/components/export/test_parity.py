import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundle import Run
from components.export.parity import Parity, ParityError, Say, compare, require_parity, threshold_logit
from components.export.recipe import ParitySettings

SETTINGS = ParitySettings(batch_sizes=(1, 3), max_logit_difference=1e-3, max_flipped_share=0.01)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)


def eager(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels[:, :1].astype(np.float32) / 100


def changed(by: float, where: tuple[int, ...] = (0, 0, 0, 0)) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = eager(pixels)
        logits[where] += by
        return logits

    return run


def say(run: Run) -> Say:
    return lambda count: {"logits": run(PIXELS[:count])}


def compared(first: Run, **others: Run) -> list[Parity]:
    return compare("a", say(first), {name: say(run) for name, run in others.items()}, SETTINGS, 1.0)  # type: ignore[misc]


def gate(run: Run) -> None:
    require_parity(compared(eager, onnx=run), SETTINGS)


def test_equal_networks_pass_at_both_batch_sizes() -> None:
    results = compared(eager, onnx=eager, torchscript=eager)
    assert [(r.format, r.batch_size) for r in results] == [
        ("onnx", 1),
        ("torchscript", 1),
        ("onnx", 3),
        ("torchscript", 3),
    ]
    assert all((r.difference, r.flipped_share) == (0, 0) for r in results)
    require_parity(results, SETTINGS)


def test_a_difference_within_tolerance_passes_and_a_larger_one_does_not() -> None:
    gate(changed(5e-4))
    with pytest.raises(ParityError):
        gate(changed(2e-3))


def test_one_logit_out_of_tolerance_fails_and_the_figure_is_named() -> None:
    with pytest.raises(ParityError, match=r"a as onnx, logits, batch 1: largest logit difference 0\.1 > 0\.001"):
        gate(changed(0.1))


def test_a_difference_in_the_last_picture_of_the_larger_batch_alone_is_found() -> None:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return changed(0.1, (2, 0, 31, 31))(pixels) if len(pixels) == 3 else eager(pixels)

    with pytest.raises(ParityError) as caught:
        gate(run)
    assert "batch 3" in str(caught.value)
    assert "batch 1" not in str(caught.value)


def test_small_differences_that_flip_many_pixels_fail() -> None:
    def near(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(pixels), 1, 32, 32), 1.0, dtype=np.float32)

    def below(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return near(pixels) - np.float32(1e-5)

    with pytest.raises(ParityError, match=r"share of flipped logits 1 > 0\.01"):
        require_parity(compared(near, onnx=below), SETTINGS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_fails_even_where_both_agree(value: float) -> None:
    broken = changed(value)
    results = compared(broken, onnx=broken)
    with pytest.raises(ParityError, match="nan"):
        require_parity(results, SETTINGS)


def test_another_shape_fails() -> None:
    with pytest.raises(ParityError, match=r"gives logits \(1, 1, 31, 32\) for a batch of 1, not \(1, 1, 32, 32\)"):
        gate(lambda pixels: eager(pixels)[:, :, 1:])


@pytest.mark.parametrize(("by", "passes"), [(4e-3, True), (6e-3, False)])
def test_a_heatmap_has_a_tolerance_of_its_own_and_no_threshold(by: float, passes: bool) -> None:
    def heatmap(offset: float) -> Say:
        return lambda count: {"heatmap": np.full((count, 1, 4, 4), 1.0 - offset, dtype=np.float32)}

    results = compare("a", heatmap(0), {"onnx": heatmap(by)}, SETTINGS, 0.997)
    if passes:
        require_parity(results, SETTINGS)
    else:
        with pytest.raises(ParityError, match=r"a as onnx, heatmap, batch 1: largest heatmap difference 0\.006"):
            require_parity(results, SETTINGS)


@given(threshold=st.floats(0.001, 0.999), temperature=st.floats(0.1, 10), logit=st.floats(-20, 20))
def test_the_cut_in_logits_is_the_threshold_in_probabilities(
    threshold: float, temperature: float, logit: float
) -> None:
    probability = 1 / (1 + math.exp(-logit / temperature))
    if abs(probability - threshold) > 1e-9:
        assert (logit >= threshold_logit(threshold, temperature)) == (probability >= threshold)


def test_thresholds_at_the_ends_cut_off_everything_or_nothing() -> None:
    assert threshold_logit(0.0, 2.0) == -math.inf
    assert threshold_logit(1.0, 2.0) == math.inf
