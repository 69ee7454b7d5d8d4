"""What a view is: a named, specified way from a stored sample to one input array of a network.

A view is a settings class with methods. Its module lies in ``media/views/`` and exposes it as ``VIEW``; the module's
name is the view's name. Training, judging and serving call the same two steps:

* ``crop`` takes the part of a stored sample that the view shows, at the resolution that augmentation works on;
* ``render`` brings that to the array that a network reads.

Between the two lies augmentation, in training alone. ``cut`` is both, one after the other.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.registry import Registry
from core.settings import Settings
from media.ela import ElaSpec, error_level
from media.extraction import FaceSpec
from media.tensors import TensorSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PRESENT = "_present"  # what follows a view's name in the name of its presence mask

FILTERS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}

P = TypeVar("P", bound=np.generic)


@dataclass(frozen=True)
class FaceGeometry:
    """Where a face lies in a stored picture.

    Attributes:
        box: x0, y0, x1, y1 in px of the stored picture; without margin.
        landmarks: float32 [5, 2], x and y in px of the stored picture: right eye, left eye, tip of the nose, right and
            left corner of the mouth, as the person has them; None where they are not known.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class StoredSample:
    """A sample as it is stored: a photograph, or the crop of a face out of a frame.

    Attributes:
        rgb: uint8 [H, W, 3].
        mask: bool [H, W], True where forged; None where nothing is marked.
        face: where the face lies in a crop that extraction cut; None for a photograph, and for a crop that was cut by
            others, all of which is the face with its margin.
        grid: origin of the crop on the grid of the decoded frame, x and y modulo 16; None where the crop is not at the
            frame's own resolution, or there was no frame.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None
    face: FaceGeometry | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Cropped:
    """The part of a sample that a view shows: ``rgb`` uint8 [h, w, 3] and ``mask`` bool [h, w], or None."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None


class View(Settings):
    """The base of every view of pixels.

    ``mean`` and ``std`` are per colour, for pixels scaled to 0..1; the planes of an error level analysis share them.
    """

    name: ClassVar[str]
    """In recipes, batches, exports and tensors."""
    optional: ClassVar[bool] = False
    """Whether a sample may lack it; a presence mask then travels beside the array."""
    whole_picture: ClassVar[bool] = False
    """Whether the array is one of several tiles of a picture, rather than all that the view shows of a sample."""

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

    def reach(self) -> float:
        """Return how wide a stored face crop must be, as its side / the longer side of the face's box; 0 for none."""
        return 0.0

    def require(self, faces: FaceSpec | None, given: bool) -> str:
        """Say why samples that were extracted so cannot show this view; "" where they can.

        Args:
            faces: how faces were cut; None for whole pictures.
            given: whether the crops were cut by others, so that nothing is known of them but their margin.
        """
        del faces, given
        return ""

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


def planes(rgb: NDArray[np.uint8], ela: ElaSpec | None) -> NDArray[np.uint8]:
    """Return uint8 [H, W, C]: the picture [H, W, 3], and behind it its error levels where asked for.

    Without error levels it is ``rgb`` itself, not a copy.

    Raises:
        BadInputError: ``too-large`` when error levels are asked of a picture larger than a JPEG can be.
    """
    return rgb if ela is None else np.concatenate([rgb, error_level(rgb, ela)], axis=2)


def stack(views: Mapping[str, View], samples: Sequence[Mapping[str, NDArray[Any] | None]]) -> dict[str, NDArray[Any]]:
    """Stack the arrays of samples into a batch.

    Args:
        views: of the network, by name.
        samples: of each the array by view; None where an optional view has nothing to show.

    Returns:
        By view [B, ...], contiguous; and by ``<view>_present`` of each optional view, bool [B], where the array of an
        absent one is zeros.
    """
    batch: dict[str, NDArray[Any]] = {}
    for name, view in views.items():
        own = [sample[name] for sample in samples]
        shape, dtype = view.tensor.shape, view.tensor.dtype
        stacked = np.zeros((len(own), *shape), dtype=dtype)
        for number, array in enumerate(own):
            if array is not None:
                stacked[number] = array
        batch[name] = stacked
        if view.optional:
            batch[name + PRESENT] = np.array([array is not None for array in own], dtype=np.bool_)
    return batch
