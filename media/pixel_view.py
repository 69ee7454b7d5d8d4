"""Views of pixels: the part of a stored sample that a view shows, brought to a square of a network's size.

Training, judging and serving call the same two steps:

* ``crop`` takes the part of a stored sample that the view shows, at the resolution that augmentation works on;
* ``render`` brings that to the array that a network reads.

Between the two lies augmentation, in training alone. ``cut`` is both, one after the other.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from media.augmentation import Draw, Policy
from media.ela import ElaSpec, error_level
from media.tensors import TensorSpec
from media.view import Affine, Shown, StoredSample, View

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FILTERS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}

P = TypeVar("P", bound=np.generic)


@dataclass(frozen=True)
class Cropped:
    """The part of a sample that a view shows: ``rgb`` uint8 [h, w, 3] and ``mask`` bool [h, w], or None."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None


class PixelView(View):
    """The base of every view of pixels.

    ``mean`` and ``std`` are per colour, for pixels scaled to 0..1; the planes of an error level analysis share them.
    """

    size_keys: ClassVar[tuple[str, ...]] = ("size",)

    size: int = Field(default=224, ge=32, le=4096)
    """Side of the square array in px."""
    channel_order: Literal["RGB"] = "RGB"
    """Order of the colours."""
    resize_filter: Literal["linear", "cubic", "area", "lanczos"] = "linear"
    """How pixels are scaled; ``area`` averages where it shrinks, without aliasing, and is cubic where it enlarges."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of each colour, for pixels scaled to 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of each colour, for pixels scaled to 0..1."""
    ela: ElaSpec | None = None
    """Error levels stacked behind the colours; null for none."""

    @property
    def channels(self) -> int:
        """Number of channels: 3, or 6 with error level analysis."""
        return 6 if self.ela else 3

    @property
    def tensor(self) -> TensorSpec:
        """The array of one sample: uint8 [C, S, S], values 0..255."""
        return TensorSpec(datatype="UINT8", shape=(self.channels, self.size, self.size))

    @property
    def normalization(self) -> Affine:
        """(x / 255 - mean) / std, as one multiplication and one addition a pixel.

        The planes of an error level analysis use the mean and deviation of their colours, so that a backbone trained on
        pictures sees them in the range it knows.
        """
        scale = tuple(1 / (255 * std) for std in self.std)
        shift = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        repeats = self.channels // len(self.mean)
        return Affine(scale * repeats, shift * repeats)

    @property
    def mask_shape(self) -> tuple[int, int]:
        """Height and width of the view's square."""
        return (self.size, self.size)

    @property
    def window(self) -> int | None:
        """Side in px of what augmentation takes out of a crop; None where a crop is augmented whole, then scaled."""
        return None

    @abstractmethod
    def crop(self, sample: StoredSample) -> Cropped | None:
        """Return the part of a sample that the view shows; None where an optional view has nothing to show."""

    @abstractmethod
    def fit(self, planes: NDArray[P]) -> NDArray[P]:
        """Bring a cropped picture [h, w, 3] or mask [h, w] to the view's size, [S, S, 3] or [S, S]."""

    def render(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the array uint8 [C, S, S] of a cropped and maybe augmented picture uint8 [h, w, 3].

        Values stay 0..255: scaling and normalisation happen on the device, inside the exported graph. Error levels are
        those of the result, the very pixels that the network sees beside them.
        """
        return np.stack(cv2.split(planes(self.fit(rgb), self.ela)))  # six times faster than a transposed copy

    def cut(self, sample: StoredSample) -> NDArray[np.uint8] | None:
        """Return the array of a sample, uint8 [C, S, S]; None where an optional view has nothing to show."""
        cropped = self.crop(sample)
        return None if cropped is None else self.render(cropped.rgb)

    def show(self, sample: StoredSample) -> Shown | None:
        """Return the array of a sample and its mask, bool [S, S]; None as ``cut`` does."""
        cropped = self.crop(sample)
        if cropped is None:
            return None
        return Shown(self.render(cropped.rgb), None if cropped.mask is None else self.fit(cropped.mask))

    def for_training(self, policy: Callable[..., Policy]) -> Callable[[StoredSample, Draw], Shown | None]:
        """Return how the view is cut in training: what it shows is augmented before it is brought to its size."""
        return partial(self._augmented, policy(self.window))

    def _augmented(self, policy: Policy, sample: StoredSample, draw: Draw) -> Shown | None:
        cropped = self.crop(sample)
        if cropped is None:
            return None
        rgb, mask = draw.augment(policy, cropped.rgb, cropped.mask)
        return Shown(self.render(rgb), self.fit(mask))


def planes(rgb: NDArray[np.uint8], ela: ElaSpec | None) -> NDArray[np.uint8]:
    """Return uint8 [H, W, C]: the picture [H, W, 3], and behind it its error levels where asked for.

    Without error levels it is ``rgb`` itself, not a copy.

    Raises:
        BadInputError: ``too-large`` when error levels are asked of a picture larger than a JPEG can be.
    """
    return rgb if ela is None else np.concatenate([rgb, error_level(rgb, ela)], axis=2)
