import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle import Bundle, judge_picture, open_runtime, read_bundle
from bundle.regions.analysis import blend_logits, stack_tiles, tile_views
from media.spec import ElaSpec, InputSpec

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def document(exported: Path) -> Bundle:
    return read_bundle(exported).document


def constant(value: float) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(pixels), 1, *pixels.shape[2:]), value, dtype=np.float32)

    return run


def brightness(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A network that works pixel by pixel: bright is forged."""
    return (pixels[:, :1].astype(np.float32) - 127.5) / 8


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (32, 32), (100, 33), (150, 170)])
def test_the_mean_of_calibrated_probabilities_is_judged_at_any_size(document: Bundle, size: tuple[int, int]) -> None:
    judged = judge_picture(picture(*size), document, {"colour": constant(2.0), "ela": constant(-1.0)})
    assert judged.probability.shape == size
    assert judged.probability.dtype == np.float32
    np.testing.assert_allclose(judged.probability, 0.75 * sigmoid(2.0) + 0.25 * sigmoid(-1.0 / 2.5), atol=1e-5)
    assert judged.verdict.forged
    assert [(o.name, o.forged) for o in judged.members] == [("colour", True), ("ela", False)]


def test_a_network_that_sees_single_pixels_gives_no_seams(document: Bundle) -> None:
    rgb = picture(90, 130)
    judged = judge_picture(rgb, document, {"colour": brightness, "ela": brightness})
    logit = (rgb[:, :, 0].astype(np.float64) - 127.5) / 8
    expected = 0.75 / (1 + np.exp(-logit)) + 0.25 / (1 + np.exp(-logit / 2.5))
    np.testing.assert_allclose(judged.probability, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_tiles_go_through_in_batches_no_larger_than_asked(document: Bundle, batch_size: int) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        seen.append(pixels.shape)
        return brightness(pixels)

    rgb = picture(80, 120)
    judged = judge_picture(rgb, document, {"colour": watched, "ela": watched}, batch_size=batch_size)
    assert max(shape[0] for shape in seen) <= batch_size
    assert {shape[1:] for shape in seen} == {(3, 32, 32), (6, 64, 64)}
    again = judge_picture(rgb, document, {"colour": brightness, "ela": brightness})
    np.testing.assert_array_equal(judged.probability, again.probability)


def test_an_authentic_picture_has_no_regions(document: Bundle) -> None:
    judged = judge_picture(picture(64, 64), document, {"colour": constant(-9), "ela": constant(-9)})
    assert not judged.verdict.forged
    assert judged.to_document()["verdict"] == "authentic"
    assert judged.to_document()["regions"] == []


def test_the_document_is_json_and_outlines_what_was_found(document: Bundle) -> None:
    rgb = np.zeros((100, 120, 3), dtype=np.uint8)
    rgb[30:60, 40:90] = 255
    judged = judge_picture(rgb, document, {"colour": brightness, "ela": brightness})
    said = json.loads(json.dumps(judged.to_document()))
    assert said["verdict"] == "forged"
    assert said["forged_fraction"] == pytest.approx(30 * 50 / 12_000)
    (region,) = said["regions"]
    assert region["box"] == [40, 30, 90, 60]
    assert said["threshold"] == 0.5
    assert [member["name"] for member in said["members"]] == ["colour", "ela"]


@pytest.mark.parametrize("value", [-1e30, -200.0, 200.0, 1e30])
def test_extreme_logits_give_certain_probabilities_without_a_warning(value: float) -> None:
    views, plan = tile_views(picture(40, 40), InputSpec(size=32, overlap=8))
    logits = np.full((len(views), 1, 32, 32), value, dtype=np.float32)
    np.testing.assert_array_equal(blend_logits(logits, plan, 0.05).round(6), float(value > 0))


def test_tiles_hold_the_planes_that_the_member_asks_for() -> None:
    rgb = picture(40, 70)
    views, plan = tile_views(rgb, InputSpec(size=64, overlap=16, ela=ElaSpec()))
    pixels = stack_tiles(views)
    assert pixels.flags.c_contiguous
    assert pixels.shape == (len(plan), 6, 64, 64)
    np.testing.assert_array_equal(pixels[0, :3, :40].transpose(1, 2, 0), rgb[:, :64])


def test_both_runtimes_give_one_verdict(exported: Path) -> None:
    bundle = read_bundle(exported)
    rgb = picture(100, 140)
    maps = [
        judge_picture(rgb, bundle.document, open_runtime(bundle, kind)).probability for kind in ("torchscript", "onnx")
    ]
    np.testing.assert_allclose(*maps, atol=1e-5)
