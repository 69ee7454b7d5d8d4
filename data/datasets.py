"""What the training data sets of all tasks share: reading in loaders' workers, cutting augmented views, collation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NotRequired, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from core.errors import BadInputError, MismatchError
from data.stored import StoredSamples
from media.augmentation import Draw
from media.spec import InputSpec
from media.tiles import FORGED_CROPS
from media.transforms import policy
from media.view import StoredSample, View, stack


class Sample(TypedDict):
    """One augmented item: T frames of a clip, or one picture (T = 1).

    Attributes:
        views: by name [T, ...], of pixels uint8 [T, C, S, S], 0..255; and by ``<view>_present`` of an optional view
            bool [T].
        mask: uint8 [T, 1, S, S], 1 where forged, of ``InputSpec.mapped``; empty where nothing is known to be forged,
            and with S = 0 where there is no such view.
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


@dataclass(frozen=True)
class Frame:
    """The augmented views of one stored sample, by name and in the order of the input specification.

    Attributes:
        views: arrays as ``View.tensor`` says; None where an optional view has nothing to show.
        masks: bool [S, S] of each view of pixels that is there.
    """

    views: dict[str, NDArray[Any] | None]
    masks: dict[str, NDArray[np.bool_]]


class ViewCutter:
    """Cuts all views of a network from a stored sample, augmented alike.

    Args:
        input_spec: its views.
        policy_name: an augmentation policy of ``media.transforms``.
        forged_crops: how often a crop of a forged picture is laid over forged pixels, 0..1.

    Raises:
        SettingsError: for an unknown policy, or one that a view has no use for.
    """

    def __init__(self, input_spec: InputSpec, policy_name: str, *, forged_crops: float = FORGED_CROPS) -> None:
        self._views: dict[str, View] = dict(input_spec.views)
        augmentation = partial(policy, policy_name, forged_crops=forged_crops)
        self._cuts = {name: view.for_training(augmentation) for name, view in self._views.items()}
        self._mapped = input_spec.mapped

    def cut(self, sample: StoredSample, seed: int, *, frame: int = 0) -> Frame:
        """Cut and augment the views of a sample.

        Args:
            sample: as it is stored.
            seed: of the augmentation, not negative; equal for all frames of a clip.
            frame: number of the sample in its clip.
        """
        draw = Draw(seed, frame=frame)
        shown = {name: cut(sample, draw) for name, cut in self._cuts.items()}
        views = {name: None if one is None else one.array for name, one in shown.items()}
        masks = {name: one.mask for name, one in shown.items() if one is not None and one.mask is not None}
        return Frame(views, masks)

    def stack(self, frames: Sequence[Frame]) -> dict[str, Tensor]:
        """Return the views of an item's frames as tensors, with presence masks, as ``Sample.views`` describes."""
        arrays = stack(self._views, [frame.views for frame in frames])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def masks(self, frames: Sequence[Frame]) -> Tensor:
        """Return the masks of ``InputSpec.mapped``, uint8 [T, 1, S, S]; empty for frames that lack the view."""
        shape = self._views[self._mapped].mask_shape if self._mapped else None
        stacked = np.zeros((len(frames), 1, *(shape or (0, 0))), dtype=np.uint8)
        for number, frame in enumerate(frames):
            if self._mapped in frame.masks:
                stacked[number, 0] = frame.masks[self._mapped]
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
        ``views``, by name [N, ...], with N the frames of all samples; ``mask`` uint8
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
