import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle import Bundle, Networks, open_networks, read_bundle
from bundle.regions.analysis import analyze_picture, blend_logits, tiles_view
from media.spec import InputSpec
from media.views.face import FaceView
from media.views.tiles import TilesView

Pixelwise = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def document(exported: Path) -> Bundle:
    return read_bundle(exported).document


def networks(**members: Pixelwise) -> dict[str, Networks]:
    """Return the networks of members, each from tiles to logits."""

    def model(function: Pixelwise) -> Networks:
        return {"model": lambda arrays: {"logits": function(arrays["tiles"])}}

    return {name: model(function) for name, function in members.items()}


def constant(value: float) -> Pixelwise:
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
    analyzed = analyze_picture(picture(*size), document, networks(colour=constant(2.0), ela=constant(-1.0)))
    assert analyzed.probability.shape == size
    assert analyzed.probability.dtype == np.float32
    np.testing.assert_allclose(analyzed.probability, 0.75 * sigmoid(2.0) + 0.25 * sigmoid(-1.0 / 2.5), atol=1e-5)
    assert analyzed.verdict.forged
    assert [(o.name, o.forged) for o in analyzed.members] == [("colour", True), ("ela", False)]


def test_a_network_that_sees_single_pixels_gives_no_seams(document: Bundle) -> None:
    rgb = picture(90, 130)
    analyzed = analyze_picture(rgb, document, networks(colour=brightness, ela=brightness))
    logit = (rgb[:, :, 0].astype(np.float64) - 127.5) / 8
    expected = 0.75 / (1 + np.exp(-logit)) + 0.25 / (1 + np.exp(-logit / 2.5))
    np.testing.assert_allclose(analyzed.probability, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_tiles_go_through_in_batches_no_larger_than_asked(document: Bundle, batch_size: int) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        seen.append(pixels.shape)
        return brightness(pixels)

    rgb = picture(80, 120)
    analyzed = analyze_picture(rgb, document, networks(colour=watched, ela=watched), batch_size=batch_size)
    assert max(shape[0] for shape in seen) <= batch_size
    assert {shape[1:] for shape in seen} == {(3, 32, 32), (6, 64, 64)}
    again = analyze_picture(rgb, document, networks(colour=brightness, ela=brightness))
    np.testing.assert_array_equal(analyzed.probability, again.probability)


def test_an_authentic_picture_has_no_regions(document: Bundle) -> None:
    analyzed = analyze_picture(picture(64, 64), document, networks(colour=constant(-9), ela=constant(-9)))
    assert not analyzed.verdict.forged
    assert analyzed.to_document()["verdict"] == "authentic"
    assert analyzed.to_document()["regions"] == []


def test_the_document_is_json_and_outlines_what_was_found(document: Bundle) -> None:
    rgb = np.zeros((100, 120, 3), dtype=np.uint8)
    rgb[30:60, 40:90] = 255
    analyzed = analyze_picture(rgb, document, networks(colour=brightness, ela=brightness))
    answer = json.loads(json.dumps(analyzed.to_document()))
    assert answer["verdict"] == "forged"
    assert answer["forged_fraction"] == pytest.approx(30 * 50 / 12_000)
    (region,) = answer["regions"]
    assert region["box"] == [40, 30, 90, 60]
    assert answer["threshold"] == 0.5
    assert [member["name"] for member in answer["members"]] == ["colour", "ela"]


@pytest.mark.parametrize("value", [-1e30, -200.0, 200.0, 1e30])
def test_extreme_logits_give_certain_probabilities_without_a_warning(value: float) -> None:
    tiles, plan = TilesView(size=32, overlap=8).tiles(picture(40, 40))
    logits = np.full((len(tiles), 1, 32, 32), value, dtype=np.float32)
    np.testing.assert_array_equal(blend_logits(logits, plan, 0.05).round(6), float(value > 0))


def test_a_network_that_marks_regions_reads_tiles_alone() -> None:
    tiles, face = TilesView(size=64), FaceView(size=64)
    assert tiles_view(InputSpec(views={"tiles": tiles})) is tiles
    for views in ({"face": face}, {"tiles": tiles, "face": face}):
        with pytest.raises(ValueError, match="networks that mark regions read one view of pictures"):
            tiles_view(InputSpec(views=views))


def test_both_runtimes_give_one_verdict(exported: Path) -> None:
    bundle = read_bundle(exported)
    rgb = picture(100, 140)
    maps = [
        analyze_picture(rgb, bundle.document, open_networks(bundle, kind)).probability
        for kind in ("torchscript", "onnx")
    ]
    np.testing.assert_allclose(*maps, atol=1e-5)
