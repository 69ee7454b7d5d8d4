"""Cutting several views of one sample, with a view of a test's own that may be missing."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from data.datasets import ViewCutter, collate
from media.spec import InputSpec
from media.transforms import policy
from media.view import StoredSample, View
from media.views.face import FaceView
from media.views.tiles import TilesView


class BrightView(FaceView):
    """The upper half of a crop, where that is bright enough."""

    name: ClassVar[str] = "bright"
    optional: ClassVar[bool] = True

    def crop(self, sample: StoredSample):
        """Return the upper half; None of a dark picture."""
        half = sample.rgb[: sample.rgb.shape[0] // 2]
        return None if half.mean() < 20 else super().crop(StoredSample(np.ascontiguousarray(half)))


def _spec(**views: View) -> InputSpec:
    return InputSpec.model_construct(views=views, frames=4)


BOTH = _spec(face=FaceView(size=64), bright=BrightView(size=32))


@pytest.fixture(scope="module")
def sample():
    rgb = np.ascontiguousarray(data.astronaut()[:97, 100:197])
    mask = np.zeros(rgb.shape[:2], dtype=bool)
    mask[10:60, 5:40] = True
    return StoredSample(rgb, mask)


def _cutter(spec: InputSpec, name: str = "none") -> ViewCutter:
    return ViewCutter(spec, name)


def _item(cutter: ViewCutter, samples, seed: int = 0, row: int = 0) -> dict:
    frames = [cutter.cut(sample, seed, frame=number) for number, sample in enumerate(samples)]
    return {
        "views": cutter.stack(frames), "mask": cutter.masks(frames), "label": 1, "row": row, "sample_id": f"s{row}",
        "lengths": len(frames),
    }  # fmt: skip


def test_without_augmentation_each_view_is_what_it_cuts_by_itself(sample):
    frame = _cutter(BOTH).cut(sample, 3)
    assert list(frame.views) == ["face", "bright"]
    for name, view in BOTH.views.items():
        np.testing.assert_array_equal(frame.views[name], view.cut(sample))
    np.testing.assert_array_equal(frame.masks["face"], FaceView(size=64).fit(sample.mask))


@pytest.mark.parametrize("name", ["faces", "faces_light"])
def test_the_first_view_is_augmented_as_it_would_be_alone(sample, name):
    alone, both = _cutter(_spec(face=FaceView(size=64)), name), _cutter(BOTH, name)
    for seed in range(12):
        rgb, mask = policy(name, None)(sample.rgb, sample.mask, seed)
        for cutter in (alone, both):
            frame = cutter.cut(sample, seed)
            np.testing.assert_array_equal(frame.views["face"], FaceView(size=64).render(rgb))
            np.testing.assert_array_equal(frame.masks["face"], FaceView(size=64).fit(mask))


def test_all_views_are_flipped_together_whatever_their_sizes():
    # Left half dark, right half bright: which side is the darker one shows the flip.
    rgb = np.full((97, 97, 3), 40, dtype=np.uint8)
    rgb[:, 48:] = 200
    cutter, flips = _cutter(BOTH, "faces"), set()
    for seed in range(40):
        frame = cutter.cut(StoredSample(rgb), seed)
        sides = {int(view[..., : view.shape[2] // 2].mean() > 120) for view in frame.views.values()}
        assert len(sides) == 1
        flips |= sides
    assert flips == {0, 1}


def test_a_view_that_is_missing_is_zeros_and_says_so(sample):
    dark = StoredSample(np.zeros_like(sample.rgb))
    item = _item(_cutter(BOTH), [sample, dark])
    assert item["views"]["bright_present"].tolist() == [True, False]
    assert item["views"]["bright"].shape == (2, 3, 32, 32)
    assert item["views"]["bright"][0].any() and not item["views"]["bright"][1].any()
    assert "face_present" not in item["views"]
    assert item["mask"].shape == (2, 1, 64, 64) and item["mask"][0].any() and not item["mask"][1].any()


def test_the_frames_of_all_views_are_packed_into_a_batch(sample):
    dark = StoredSample(np.zeros_like(sample.rgb))
    items = [_item(_cutter(BOTH), frames, row=row) for row, frames in enumerate(([sample, dark], [sample], [dark]))]
    batch = collate(items)
    assert batch["views"]["face"].shape == (4, 3, 64, 64) and batch["views"]["face"].dtype == torch.uint8
    assert batch["views"]["bright_present"].tolist() == [True, False, True, False]
    assert batch["views"]["bright_present"].dtype == torch.bool
    assert batch["mask"].shape == (4, 1, 64, 64)
    assert batch["lengths"].tolist() == [2, 1, 1] and batch["sample_id"] == ["s0", "s1", "s2"]
    assert torch.equal(batch["views"]["bright"], torch.cat([item["views"]["bright"] for item in items]))


class TwoViews(nn.Module):
    """A layer for each view; the one that may be missing counts only where it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.face, self.bright = nn.Conv2d(3, 1, 64), nn.Conv2d(3, 1, 32)

    def forward(self, views: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return a logit for each sample."""
        bright = self.bright(views["bright"].float()).flatten(1) * views["bright_present"][:, None]
        return self.face(views["face"].float()).flatten(1) + bright


def test_a_batch_of_two_views_gives_gradients_to_both(sample):
    dark = StoredSample(np.zeros_like(sample.rgb))
    network = TwoViews()
    network(collate([_item(_cutter(BOTH), [sample]), _item(_cutter(BOTH), [dark])])["views"]).sum().backward()
    assert network.face.weight.grad.abs().sum() > 0 and network.bright.weight.grad.abs().sum() > 0
    network.zero_grad()
    network(collate([_item(_cutter(BOTH), [dark])])["views"]).sum().backward()
    assert not network.bright.weight.grad.any()


def test_tiles_of_two_sizes_share_the_turn_of_the_picture():
    rgb = np.full((200, 200, 3), 40, dtype=np.uint8)
    rgb[:, 100:] = 200
    spec = _spec(tiles=TilesView(size=192), small=TilesView(size=160))
    cutter = ViewCutter(spec, "native")
    for seed in range(20):
        views = cutter.cut(StoredSample(rgb), seed).views
        turned = []
        for view in views.values():
            side = view.shape[1]
            top, left = view[:, : side // 4].mean(), view[:, :, : side // 4].mean()
            turned.append((round(top / 60), round(left / 60)))
        assert turned[0] == turned[1]
