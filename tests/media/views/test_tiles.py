"""The view of photographs: tiles at their own resolution."""

import numpy as np
import pytest

from core.errors import SettingsError
from core.settings import validate
from media import tiles
from media.ela import ElaSpec, error_level
from media.extraction import ExtractionSpec, FaceSpec
from media.view import StoredSample
from media.views.tiles import TilesView

RGB = np.random.default_rng(0).integers(0, 256, (150, 100, 3), dtype=np.uint8)


def test_a_picture_is_cut_into_tiles_that_put_it_together_again() -> None:
    view = TilesView(size=64, overlap=16)
    cut, plan = view.tiles(RGB)
    assert {tile.shape for tile in cut} == {view.tensor.shape}
    maps = np.stack([tile[0] for tile in cut]).astype(np.float32)
    assert tiles.blend(maps, plan) == pytest.approx(RGB[..., 0].astype(np.float32), abs=1e-3)


def test_error_levels_of_tiles_are_those_of_the_whole_picture() -> None:
    view = TilesView(size=64, overlap=16, ela=ElaSpec())
    cut, plan = view.tiles(RGB)
    levels = error_level(RGB, ElaSpec())
    for tile, (top, left) in zip(cut, plan.corners, strict=True):
        assert np.array_equal(tile[3:], levels[top : top + 64, left : left + 64].transpose(2, 0, 1))


def test_training_sees_windows_of_one_tile() -> None:
    view = TilesView(size=64, overlap=16)
    window = np.ascontiguousarray(RGB[:64, :64])
    assert np.array_equal(view.render(window), window.transpose(2, 0, 1))
    sample = StoredSample(RGB, RGB[..., 0] > 9)
    cropped = view.crop(sample)
    assert cropped.rgb is RGB
    assert cropped.mask is sample.mask
    assert view.fit(RGB[:40, :50]).shape == (64, 64, 3)


def test_tiles_are_of_whole_pictures() -> None:
    assert "whole pictures" in TilesView().require(ExtractionSpec(faces=FaceSpec()))
    assert TilesView().require(ExtractionSpec()) == ""


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [({"size": 300}, "multiple of 32"), ({"resize_filter": "area"}, "never scaled"), ({"overlap": -1}, "overlap = -1")],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        validate(TilesView, wrong, "view")
