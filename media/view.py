"""What a view is: a named, specified way from a stored sample to one input array of a network.

A view is a settings class with methods. Its module lies in ``media/views/`` and exposes it as ``VIEW``; the module's
name is the view's name. Training, judging and serving all cut it with ``cut``, or what ``cut`` is made of; training
alone lets the view augment what it shows (``for_training``). Most views are of pixels: see ``media.pixel_view``.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import MismatchError
from core.registry import Registry
from core.settings import Settings
from media.augmentation import Draw, Policy
from media.extraction import ExtractionSpec
from media.tensors import TensorSpec

PRESENT = "_present"  # what follows a view's name in the name of its presence mask


@dataclass(frozen=True)
class Subject:
    """Where that lies in a stored picture for which it was cut out of a frame.

    Attributes:
        box: x0, y0, x1, y1 in px of the stored picture; without margin.
        landmarks: float32 [5, 2], x and y in px of the stored picture: right eye, left eye, tip of the nose, right and
            left corner of the mouth, as the person has them; None where they are not known.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class StoredSample:
    """A sample as it is stored: a photograph, or a crop out of a frame.

    Attributes:
        rgb: uint8 [H, W, 3].
        mask: bool [H, W], True where forged; None where nothing is marked.
        subject: what extraction cut the crop for; None for a photograph, and for a crop that was cut by others, all of
            which is the subject with its margin.
        grid: origin of the crop on the grid of the decoded frame, x and y modulo 16; None where the crop is not at the
            frame's own resolution, or there was no frame.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None
    subject: Subject | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Shown:
    """What a view shows of a sample: its array, and bool [S, S] where that is forged, None where nothing is marked."""

    array: NDArray[Any]
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Affine:
    """``x * scale + shift``, a number each for every entry of an array's first axis."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]


class View(Settings):
    """The base of every view."""

    name: ClassVar[str]
    """In recipes, batches, exports and tensors."""
    optional: ClassVar[bool] = False
    """Whether a sample may lack it; a presence mask then travels beside the array."""
    whole_picture: ClassVar[bool] = False
    """Whether it is of pictures that are judged one by one, with a map as the answer."""
    size_keys: ClassVar[tuple[str, ...]] = ()
    """The keys that the array grows with, to be lowered where memory does not suffice."""

    @property
    @abstractmethod
    def tensor(self) -> TensorSpec:
        """The array of one sample."""

    @property
    def normalization(self) -> Affine | None:
        """How the device brings the array to the network's range, in float32; None leaves it as it is."""
        return None

    @property
    def mask_shape(self) -> tuple[int, int] | None:
        """Height and width of the masks of what is forged, and of the maps laid back; None for a view without any."""
        return None

    @abstractmethod
    def cut(self, sample: StoredSample) -> NDArray[Any] | None:
        """Return the array of a sample, as ``tensor`` says; None where an optional view has nothing to show."""

    def show(self, sample: StoredSample) -> Shown | None:
        """Return the array of a sample with its mask, if there is one; None as ``cut`` does."""
        array = self.cut(sample)
        return None if array is None else Shown(array)

    def for_training(self, policy: Callable[..., Policy]) -> Callable[[StoredSample, Draw], Shown | None]:
        """Return how the view is cut in training: a picklable function of a sample and what is drawn for it.

        Args:
            policy: returns the recipe's augmentation of pixels, for windows of so many px or for whole crops; with
                ``native=False`` for pictures that were scaled to that size already. It raises ``SettingsError`` where
                it has no such form. A view that is not of pixels leaves it alone.
        """
        del policy
        return self._unchanged

    def _unchanged(self, sample: StoredSample, draw: Draw) -> Shown | None:
        del draw
        return self.show(sample)

    def reach(self) -> float:
        """Return how wide a stored crop must be, as its side / the longer side of the subject's box; 0 for none."""
        return 0.0

    def require(self, extraction: ExtractionSpec) -> str:
        """Say why samples that were extracted so cannot show this view; "" where they can."""
        del extraction
        return ""

    def lay(self, heat: NDArray[np.float32], sample: StoredSample) -> NDArray[np.float32]:
        """Bring a network's map of this view back to the stored sample that it is of.

        Args:
            heat: float32 [h, w], 0..1.
            sample: what the view was cut from.

        Returns:
            float32 [H, W] of the sample's size, 0..1; what the view does not show has no heat.
        """
        raise NotImplementedError(f"the view {self.name} cannot be laid back over a sample of {sample.rgb.shape}")


VIEWS: Registry[type[View]] = Registry("media.views", "VIEW", "view", folders=False)


def network_item(views: Mapping[str, View], arrays: Mapping[str, NDArray[Any] | None]) -> dict[str, NDArray[Any]]:
    """Return what a network reads of one sample, by the names of its inputs and without the batch.

    Args:
        views: of the network, by name.
        arrays: of each view, and maybe of others; None where an optional view has nothing to show.

    Returns:
        By view its array, zeros where it is absent; and by ``<view>_present`` of each optional view, a bool.

    Raises:
        MismatchError: when a view that is not optional is absent.
    """
    item: dict[str, NDArray[Any]] = {}
    for name, view in views.items():
        array = arrays[name]
        if array is None and not view.optional:
            raise MismatchError(f"the view {name} shows nothing of a sample, and a network that reads it needs it")
        item[name] = view.tensor.example(1)[0] if array is None else array
        if view.optional:
            item[name + PRESENT] = np.array(array is not None)
    return item


def stack(views: Mapping[str, View], samples: Sequence[Mapping[str, NDArray[Any] | None]]) -> dict[str, NDArray[Any]]:
    """Stack the arrays of samples into a batch.

    Args:
        views: of the network, by name.
        samples: at least one; of each the arrays, as ``network_item`` takes them.

    Returns:
        What ``network_item`` returns of each: [B, ...], contiguous.

    Raises:
        MismatchError: as ``network_item``.
    """
    items = [network_item(views, sample) for sample in samples]
    # Views transpose pixels, and np.stack keeps the order of axes in memory.
    return {name: np.ascontiguousarray(np.stack([item[name] for item in items])) for name in items[0]}
