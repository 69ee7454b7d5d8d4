"""Views as such: their registry, batches with missing views, and the arrays that they promise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from core.errors import MismatchError, SettingsError
from media.pixel_view import Cropped, PixelView, planes
from media.view import PRESENT, VIEWS, StoredSample, network_item, stack
from media.views.face import FaceView
from media.views.tiles import TilesView

ROOT = Path(__file__).resolve().parents[2]


class Absent(PixelView):
    """A view that dark samples lack."""

    name: ClassVar[str] = "absent"
    optional: ClassVar[bool] = True

    def crop(self, sample: StoredSample) -> Cropped | None:
        return Cropped(sample.rgb) if sample.rgb.any() else None

    def fit(self, planes: np.ndarray) -> np.ndarray:
        return planes[: self.size, : self.size]


def test_views_are_found_by_their_names() -> None:
    assert VIEWS.names() == ["centre", "face", "tiles", "whole"]
    assert VIEWS.get("tiles") is TilesView
    assert {name: VIEWS.get(name).name for name in VIEWS.names()} == {name: name for name in VIEWS.names()}
    with pytest.raises(SettingsError, match=r"unknown view 'fase'\. Did you mean 'face'"):
        VIEWS.get("fase")


def test_a_sample_that_lacks_an_optional_view_has_zeros_and_is_marked() -> None:
    views = {"face": FaceView(size=32), "absent": Absent(size=32)}
    samples = [StoredSample(np.full((40, 40, 3), level, np.uint8)) for level in (7, 0)]
    batch = stack(views, [{name: view.cut(sample) for name, view in views.items()} for sample in samples])
    assert list(batch) == ["face", "absent", "absent" + PRESENT]
    assert batch["absent" + PRESENT].tolist() == [True, False]
    assert (batch["absent"][0] == 7).all()
    assert not batch["absent"][1].any()
    for name, view in views.items():
        assert batch[name].shape == (2, *view.tensor.shape)
        assert batch[name].dtype == view.tensor.dtype
        assert batch[name].flags.c_contiguous


def test_a_view_that_is_not_optional_must_be_there() -> None:
    """Zeros in its place would be judged as if they had been seen."""
    for arrange in (network_item, lambda views, arrays: stack(views, [arrays])):
        with pytest.raises(MismatchError, match="the view face shows nothing"):
            arrange({"face": FaceView(size=32)}, {"face": None})


def test_a_view_that_cannot_be_laid_back_says_so() -> None:
    with pytest.raises(NotImplementedError, match="absent"):
        Absent(size=32).lay(np.zeros((32, 32), np.float32), StoredSample(np.zeros((40, 40, 3), np.uint8)))


def test_planes_without_error_levels_are_no_copy() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    assert planes(rgb, None) is rgb


def test_a_view_of_an_extension_is_read_from_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "media/views").mkdir(parents=True)
    (tmp_path / "media/views/corner.py").write_text(
        "from media.pixel_view import Cropped\n"
        "from media.views.face import FaceView\n"
        "class Corner(FaceView):\n"
        "    name = 'corner'\n"
        "    def crop(self, sample):\n"
        "        return Cropped(sample.rgb[:8, :8])\n"
        "VIEW = Corner\n"
    )
    program = (
        "import numpy as np\n"
        "from media.spec import InputSpec\n"
        "from media.view import StoredSample\n"
        "spec = InputSpec.model_validate({'views': {'corner': {'size': 32}}})\n"
        "print(spec.only.cut(StoredSample(np.zeros((40, 40, 3), np.uint8))).shape, list(spec.signature))\n"
    )
    environment = os.environ | {"VERIFRAME_EXTENSIONS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "(3, 32, 32) ['corner']\n"
