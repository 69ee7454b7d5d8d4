"""Evaluating maps against the masks of pseudo-fakes, with maps whose worth is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from core.errors import BadInputError, SettingsError
from core.settings import Settings
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from judging.bootstrap import Bootstrap
from media.extraction import ExtractionSpec, FaceSpec, SampleSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import LoadedNetwork
from models.family import Family
from models.network import Network, only
from tasks.faces.heatmap_models import TrainedHeatmaps
from tasks.faces.heatmaps import centre_map, evaluate_heatmaps, matched_iou, matched_level, pointing

SPEC = InputSpec(views={"face": {"size": 64, "margin": 1.0}})


class Suspicious(Network):
    """Detects whatever is bright; its fine map is high in the left half, its coarse one at the right edge."""

    def forward(self, views, lengths=None):
        return only(views).mean(dim=(1, 2, 3))[:, None]

    def heatmaps(self, views):
        count = len(only(views))
        fine, coarse = torch.zeros(count, 1, 16, 16), torch.zeros(count, 1, 4, 4)
        fine[..., :8], coarse[..., 3] = 0.5, 1.0
        fine[:, :, 8, 6] = 1.0
        return {"fine": fine, "coarse": coarse}


def _model(heatmaps=True) -> LoadedNetwork:
    family = Family(
        name="tiny",
        task="faces",
        settings=Settings,
        loss_settings=Settings,
        network=lambda *_: Suspicious(),
        loss=lambda _: nn.Identity(),
        views=("face",),
        heatmaps=heatmaps,
    )
    return LoadedNetwork(
        network=Suspicious().eval(),
        family=family,
        model_settings=Settings(),
        spec=PreprocessingSpec(extraction=ExtractionSpec(faces=FaceSpec(margin=1.0)), input=SPEC),
        classes=("real", "manipulated"),
        member="tiny",
        stage="v3",
        metrics={},
        checkpoint_sha256="0" * 64,
    )


@pytest.fixture(scope="module")
def data(tiny_faces):
    index = read_index(tiny_faces)
    return index, ShardReader(index.shards)


def _evaluate(data, **options):
    given = {"seed": 0, "count": 30, "device": "cpu", "bootstrap": Bootstrap(resamples=200)} | options
    return evaluate_heatmaps(TrainedHeatmaps(_model(), "cpu"), *data, **given)


def test_the_maximum_of_a_map_points_and_equal_maxima_share():
    mask = np.zeros((8, 8), dtype=bool)
    mask[:, :4] = True
    heat = np.zeros((8, 8), dtype=np.float32)
    assert pointing(heat, mask) == 0.5  # a map that says nothing points anywhere
    heat[2, 3] = heat[2, 4] = 1
    assert pointing(heat, mask) == 0.5
    heat[2, 3] = 2
    assert pointing(heat, mask) == 1
    assert pointing(heat, ~mask) == 0


@hypothesis_settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 63))
def test_a_map_that_ranks_the_pixels_rightly_has_an_iou_of_one_and_its_inverse_the_least(seed, area):
    rng = np.random.default_rng(seed)
    mask = np.zeros(64, dtype=bool)
    mask[rng.permutation(64)[:area]] = True
    mask = mask.reshape(8, 8)
    heat = (rng.permutation(64).reshape(8, 8) / 64 + mask).astype(np.float32)
    assert matched_iou(heat, mask) == 1
    assert (heat >= matched_level(heat, mask)).sum() == area
    overlap = max(0, 2 * area - 64)
    assert matched_iou(-heat, mask) == pytest.approx(overlap / (2 * area - overlap))


def test_a_map_that_says_nothing_has_the_iou_of_guessing():
    mask = np.zeros((8, 8), dtype=bool)
    mask[:2] = True
    heat = np.zeros((8, 8), dtype=np.float32)
    assert matched_iou(heat, mask) == pytest.approx(4 / (16 + 16 - 4))  # 16 of 64 pixels, of which 4 are expected
    heat[0] = 1  # half is found for certain, the other half is guessed among 56 pixels of which 8 are right
    assert matched_iou(heat, mask) == pytest.approx((8 + 8 / 7) / (32 - 8 - 8 / 7))


def test_the_centre_is_in_the_middle():
    bump = centre_map(33)
    assert np.unravel_index(bump.argmax(), bump.shape) == (16, 16) and bump.max() == 1
    np.testing.assert_allclose(bump, bump[::-1, ::-1])


def test_every_map_is_measured_and_the_better_one_gains(data):
    evaluated = _evaluate(data)
    figures = evaluated.figures
    assert figures["pictures"] == 30 and set(figures["maps"]) == {"fine", "coarse", "centre"}
    fine, coarse = (figures["maps"][name]["all"] for name in ("fine", "coarse"))
    assert fine["pointing"] > 0.5 > coarse["pointing"]
    assert fine["iou"] > coarse["iou"]
    gain = figures["gains"]["coarse"]["all"]
    for name in ("pointing", "iou"):
        assert gain[name] == pytest.approx(fine[name] - coarse[name])
        low, high = gain["intervals"][name]
        assert low <= gain[name] <= high
    assert figures["maps"]["centre"]["all"]["iou"] > 0.5
    assert figures["maps"]["fine"]["small"]["pictures"] < 30
    assert figures["maps"]["fine"]["small"]["iou"] < fine["iou"]


def test_what_the_network_detects_is_counted_apart(data):
    figures = _evaluate(data).figures
    detected = figures["maps"]["fine"]["detected"]
    assert detected is None if figures["detected"] == 0 else detected["pictures"] == round(30 * figures["detected"])


def test_only_authentic_faces_are_drawn_and_the_gallery_shows_the_first(data):
    index, _ = data
    assert _evaluate(data, count=500).figures["pictures"] == len(index.where(label=0))
    shown = _evaluate(data, gallery=3).gallery
    assert len(shown) == 3
    assert all(figure.mime == "image/jpeg" and "fine IoU" in figure.caption for figure in shown)
    assert all("/real/" in figure.caption for figure in shown)


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"workers": 4}])
def test_figures_depend_on_the_seed_and_not_on_how_they_are_computed(data, options):
    assert _evaluate(data, **options).figures == _evaluate(data).figures
    assert _evaluate(data, seed=1).figures != _evaluate(data).figures


def test_what_has_no_heatmaps_or_no_faces_is_refused(data):
    (index, reader), model = data, TrainedHeatmaps(_model(), "cpu")
    options = {"seed": 0, "count": 4, "device": "cpu"}
    with pytest.raises(SettingsError, match="family tiny has no heatmaps"):
        TrainedHeatmaps(_model(False), "cpu")
    with pytest.raises(BadInputError, match="none"):
        evaluate_heatmaps(model, index.where(label=1), reader, **options)
    pictures = SampleIndex(index.table, SampleSpec(), index.shards, index.sha256)
    with pytest.raises(BadInputError, match="whole pictures"):
        evaluate_heatmaps(model, pictures, reader, **options)
