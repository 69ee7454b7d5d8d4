import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle import Networks
from components.export.parity import Parity, ParityError, compare, require_parity
from tasks.settings import ParitySettings

SETTINGS = ParitySettings(batch_sizes=(1, 3), max_logit_difference=1e-3, max_flipped_share=0.01)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)

Outputs = dict[str, NDArray[np.float32]]
Pixelwise = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass
class Probe:
    """Asks about the first pixels; a calibrated logit of 0.5 is the cut."""

    cut: float = 0.5

    def __call__(self, networks: Networks, count: int) -> Outputs:
        return networks["model"]({"tiles": PIXELS[:count]})


def eager(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels[:, :1].astype(np.float32) / 100


def changed(by: float, where: tuple[int, ...] = (0, 0, 0, 0)) -> Pixelwise:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = eager(pixels)
        logits[where] += by
        return logits

    return run


def networks(function: Pixelwise, output: str = "logits") -> Networks:
    return {"model": lambda arrays: {output: function(arrays["tiles"])}}


def compared(first: Pixelwise, output: str = "logits", **others: Pixelwise) -> list[Parity]:
    exported = {name: networks(run, output) for name, run in others.items()}
    return compare("a", Probe(), networks(first, output), exported, SETTINGS, 2.0)  # type: ignore[arg-type]


def gate(run: Pixelwise) -> None:
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
    def heatmap(offset: float) -> Pixelwise:
        return lambda pixels: np.full((len(pixels), 1, 4, 4), 1.0 - offset, dtype=np.float32)

    results = compared(heatmap(0), "heatmap", onnx=heatmap(by))
    if passes:
        require_parity(results, SETTINGS)
    else:
        with pytest.raises(ParityError, match=r"a as onnx, heatmap, batch 1: largest heatmap difference 0\.006"):
            require_parity(results, SETTINGS)
