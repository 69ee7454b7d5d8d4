"""What the training data sets of all tasks share: reading in loaders' workers, cutting augmented views, collation."""

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NotRequired, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from core.errors import BadInputError, MismatchError
from data.stored import StoredSamples
from media.spec import InputSpec
from media.transforms import Policy
from media.view import Cropped, StoredSample, View, stack


class Sample(TypedDict):
    """One augmented item: T frames of a clip, or one picture (T = 1).

    Attributes:
        views: by name uint8 [T, C, S, S], 0..255; and by ``<view>_present`` of an optional view bool [T].
        mask: uint8 [T, 1, S, S], 1 where forged, of the first view; empty where nothing is known to be forged.
        label: class of the item; the part of it that was cut may show no forged pixel all the same: the mask says so.
        row: of the index; that of the first frame.
        sample_id: of that row.
        lengths: T, for networks of clips alone.
    """

    views: dict[str, Tensor]
    mask: Tensor
    label: int
    row: int
    sample_id: str
    lengths: NotRequired[int]


class Frame:
    """The augmented views of one stored sample, by name and in the order of the input specification.

    Attributes:
        views: arrays as ``View.tensor`` says; None where an optional view has nothing to show.
        masks: bool [S, S] of each view that is there.
    """

    def __init__(self, views: dict[str, NDArray[Any] | None], masks: dict[str, NDArray[np.bool_]]) -> None:
        self.views = views
        self.masks = masks


class ViewCutter:
    """Cuts all views of a network from a stored sample, augmented alike.

    Args:
        input_spec: its views.
        policies: an augmentation of each view, by name.
    """

    def __init__(self, input_spec: InputSpec, policies: Mapping[str, Policy]) -> None:
        self._views: dict[str, View] = dict(input_spec.views)
        self._policies = dict(policies)

    def cut(self, sample: StoredSample, seed: int, *, frame: int = 0) -> Frame:
        """Cut and augment the views of a sample.

        Args:
            sample: as it is stored.
            seed: of the augmentation, not negative; equal for all frames of a clip.
            frame: number of the sample in its clip.
        """
        crops = {name: view.crop(sample) for name, view in self._views.items()}
        augmented = self._augment({name: crop for name, crop in crops.items() if crop is not None}, seed, frame)
        views = {
            name: view.render(augmented[name].rgb) if name in augmented else None for name, view in self._views.items()
        }
        masks = {name: self._views[name].fit(crop.mask) for name, crop in augmented.items() if crop.mask is not None}
        return Frame(views, masks)

    def _augment(self, crops: Mapping[str, Cropped], seed: int, frame: int) -> dict[str, Cropped]:
        """Augment the crops; what is drawn after the window, such as a flip, is drawn alike for all of them."""
        augmented: dict[str, Cropped] = {}
        state: Any = None
        for name, crop in crops.items():
            policy, draw = self._policies[name], random.Random(seed)
            rgb, mask = policy.window(crop.rgb, crop.mask, draw)
            # How many numbers a window takes from the stream depends on the crop's size: the first view's count.
            state = draw.getstate() if state is None else state
            draw.setstate(state)
            augmented[name] = Cropped(*policy.change(rgb, mask, seed, draw, frame=frame))
        return augmented

    def stack(self, frames: Sequence[Frame]) -> dict[str, Tensor]:
        """Return the views of an item's frames as tensors, with presence masks, as ``Sample.views`` describes."""
        arrays = stack(self._views, [frame.views for frame in frames])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def masks(self, frames: Sequence[Frame]) -> Tensor:
        """Return the masks of the first view, uint8 [T, 1, S, S]; empty for frames that lack it."""
        name, view = next(iter(self._views.items()))
        stacked = np.zeros((len(frames), 1, view.size, view.size), dtype=np.uint8)
        for number, frame in enumerate(frames):
            if name in frame.masks:
                stacked[number, 0] = frame.masks[name]
        return torch.from_numpy(stacked)


@cache
def _use_no_threads() -> None:
    """Let OpenCV work in a loader's worker without threads, as PyTorch does there: the workers are the parallelism.

    Zero and not one: one would make OpenCV wait for its pool's threads, which do not exist in a forked process.
    """
    cv2.setNumThreads(0)


def read_sample(stored: StoredSamples, row: int) -> StoredSample:
    """Read a row's sample in whatever process loads it.

    Raises:
        MismatchError: when the sample cannot be read; the message names it.
    """
    if get_worker_info() is not None:
        _use_no_threads()
    try:
        return stored.read(row)
    except (BadInputError, MismatchError) as error:
        # A worker's error is rebuilt from its message alone, so it must be one that takes nothing else.
        raise MismatchError(
            f"sample {stored.sample_id(row)} cannot be read ({error}); extract its data set again"
        ) from error


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Put items into a batch, in shared memory when called by a loader's worker.

    The frames of clips lie one after the other: nothing is padded.

    Returns:
        ``views``, by name uint8 [N, C, S, S] and bool [N], with N the frames of all samples; ``mask`` uint8
        [N, 1, S, S]; ``label`` and ``row`` int64 [B]; ``sample_id`` a list of B strings; of clips also ``lengths``
        int64 [B], which add up to N.
    """
    of_frames = ("views", "mask")
    batch: dict[str, Any] = {
        "views": {name: _packed([sample["views"][name] for sample in samples]) for name in samples[0]["views"]},
        "mask": _packed([sample["mask"] for sample in samples]),
    }
    rest = [{name: value for name, value in sample.items() if name not in of_frames} for sample in samples]
    batch |= default_collate(rest)
    return batch


def _packed(tensors: Sequence[Tensor]) -> Tensor:
    """Return the frames of all tensors [T, ...] as one [N, ...]."""
    packed: Tensor = default_collate([frame for tensor in tensors for frame in tensor])
    return packed
