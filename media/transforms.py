"""Named augmentation policies; the only module that imports albumentations."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import SettingsError, unknown_name
from media.augmentation import Mask, Rgb
from media.tiles import FORGED_CROPS, pad_to
from media.transforms_compression import JPEG_BLOCK, h264_intra, shifted_jpeg


@contextmanager
def _without_update_check() -> Iterator[None]:
    """Keep albumentations from asking PyPI for a newer version while it is imported."""
    name = "NO_ALBUMENTATIONS_UPDATE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


with _without_update_check():
    import albumentations as A  # noqa: N812 - its documented name
    from scipy.special import ndtri

CROPPED_AREA = (0.7, 1.0)  # of what RandomResizedCrop is given, as published
WINDOW_MARGIN = (sum(CROPPED_AREA) / 2) ** -0.5  # of a window / its result, for the picture's own scale in the median


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    """Return 65,536 equally likely values of the standard normal distribution, float32, within ±4.4."""
    return np.asarray(ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)), dtype=np.float32)


class GaussNoise(A.GaussNoise):  # type: ignore[misc]
    """albumentations' Gaussian noise for uint8 pictures, drawn from the transform's own generator.

    The original seeds OpenCV's generator, which the whole thread shares, with one of 65,536 seeds, and takes six times
    as long. Here a 16-bit uniform number picks one of as many quantiles of the normal distribution.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw ``noise_map``: int16 of the picture's shape, in grey levels."""
        std = 255 * self.py_random.uniform(*self.std_range)
        levels = np.rint(std * _normal_quantiles()).astype(np.int16)
        picks = self._source(data).integers(0, 1 << 16, size=params["shape"], dtype=np.uint16)
        return {"noise_map": cv2.LUT(picks, levels)}

    def _source(self, data: dict[str, Any]) -> np.random.Generator:
        del data
        generator: np.random.Generator = self.random_generator
        return generator

    def apply(self, img: Rgb, noise_map: NDArray[np.int16], **_: Any) -> Rgb:
        """Add ``noise_map`` and clip."""
        return np.asarray(cv2.add(img, noise_map, dtype=cv2.CV_8U), dtype=np.uint8)


class FrameNoise(GaussNoise):
    """The same noise, drawn anew for every frame of a clip: sensors repeat their level, never their noise."""

    def _source(self, data: dict[str, Any]) -> np.random.Generator:
        # One number is taken whatever the frame, so that what is drawn after the noise stays the same.
        return np.random.default_rng((int(self.random_generator.integers(1 << 63)), data["frame"]))


class RandomRotate90(A.RandomRotate90):  # type: ignore[misc]
    """albumentations' quarter turns, by OpenCV: a tenth of the time that NumPy takes to copy a transposed picture."""

    _TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)

    def apply(self, img: Rgb, factor: int, **_: Any) -> Rgb:
        """Turn by ``factor`` quarters, counter-clockwise."""
        turn = self._TURNS[factor]
        return img if turn is None else np.asarray(cv2.rotate(img, turn), dtype=np.uint8)


class ImageCompression(A.ImageCompression):  # type: ignore[misc]
    """albumentations' compression with the channels in their right order.

    The original hands RGB to an encoder that expects BGR, so that luma weighs blue like red and the traces differ from
    those of any real file.
    """

    def apply(self, img: Rgb, quality: int, image_type: str, **params: Any) -> Rgb:
        """Compress and decode once."""
        decoded = super().apply(cv2.cvtColor(img, cv2.COLOR_RGB2BGR), quality=quality, image_type=image_type, **params)
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class ShiftedCompression(A.ImageOnlyTransform):  # type: ignore[misc]
    """JPEG compression on a grid of blocks that begins anywhere."""

    def __init__(self, quality: tuple[int, int], p: float = 1.0) -> None:
        super().__init__(p=p)
        self._quality = quality

    def get_params(self) -> dict[str, Any]:
        """Draw quality and shift."""
        draw = self.py_random
        return {
            "quality": draw.randint(*self._quality),
            "shift": (draw.randrange(JPEG_BLOCK), draw.randrange(JPEG_BLOCK)),
        }

    def apply(self, img: Rgb, quality: int, shift: tuple[int, int], **_: Any) -> Rgb:
        """Compress and decode once."""
        return shifted_jpeg(img, quality, shift)


class VideoCompression(A.ImageOnlyTransform):  # type: ignore[misc]
    """What a video site does: scaled down, compressed by H.264 as a key frame, and scaled up again by the player."""

    def __init__(self, crf: tuple[int, int], scale: tuple[float, float], p: float = 1.0) -> None:
        super().__init__(p=p)
        self._crf = crf
        self._scale = scale

    def get_params(self) -> dict[str, Any]:
        """Draw rate factor and scale."""
        return {"crf": self.py_random.randint(*self._crf), "scale": self.py_random.uniform(*self._scale)}

    def apply(self, img: Rgb, crf: int, scale: float, **_: Any) -> Rgb:
        """Scale, compress, decode, and scale back."""
        height, width = img.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        compressed = h264_intra(np.asarray(cv2.resize(img, small, interpolation=cv2.INTER_AREA), np.uint8), crf)
        return np.asarray(cv2.resize(compressed, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _resized_crop(size: int) -> Any:
    # NEAREST_EXACT takes the pixel nearest to the centre, as linear interpolation does; NEAREST is off by half a pixel.
    return A.RandomResizedCrop(size=(size, size), scale=CROPPED_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT)


def _orientation() -> list[Any]:
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), RandomRotate90(p=0.5)]


def _noise_or_blur() -> Any:
    # A bare blur_limit=3 would mean kernels of 0 to 3 px to GaussianBlur, where 0 is up to 21 px.
    noise = GaussNoise(std_range=(0.01, 0.05))
    return A.OneOf([noise, A.GaussianBlur(blur_limit=(3, 3)), A.MedianBlur(blur_limit=(3, 3))], p=0.3)


def _forgery(size: int) -> list[Any]:
    colour = [
        A.RandomBrightnessContrast(0.2, 0.2),
        A.HueSaturationValue(10, 20, 20),
        A.ColorJitter(0.2, 0.2, 0.2, 0.1),
    ]
    return [_resized_crop(size), *_orientation(), _noise_or_blur(), A.OneOf(colour, p=0.5)]


def _compression(p: float) -> Any:
    return A.OneOf([ImageCompression(kind, quality_range=(50, 95)) for kind in ("jpeg", "webp")], p=p)


def _enhanced(size: int) -> list[Any]:
    colour = [
        A.RandomBrightnessContrast(0.4, 0.4),
        A.HueSaturationValue(20, 40, 40),
        A.ColorJitter(0.4, 0.4, 0.4, 0.15),
    ]
    interpolation = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return [
        _resized_crop(size),
        *_orientation(),
        _noise_or_blur(),
        A.OneOf(colour, p=0.7),
        A.Downscale(scale_range=(0.5, 0.9), interpolation_pair=interpolation, p=0.4),
        A.Sequential([_compression(1.0), _compression(0.5), _compression(0.5)], p=0.7),
    ]


def _native(size: int) -> list[Any]:
    del size  # the window has it already
    colour = [A.RandomBrightnessContrast(0.1, 0.1), A.HueSaturationValue(5, 10, 10)]
    return [*_orientation(), A.OneOf(colour, p=0.3), ImageCompression("jpeg", quality_range=(75, 98), p=0.3)]


def _faces(size: int) -> list[Any]:
    del size  # faces keep theirs
    colour = [A.RandomBrightnessContrast(0.15, 0.15), A.HueSaturationValue(6, 20, 15)]
    interpolation = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    jpeg = [ShiftedCompression((40, 95)), ShiftedCompression((50, 95), p=0.5)]
    return [
        A.HorizontalFlip(p=0.5),
        A.OneOf(colour, p=0.4),
        FrameNoise(std_range=(0.005, 0.03), p=0.2),
        A.Downscale(scale_range=(0.4, 0.9), interpolation_pair=interpolation, p=0.25),
        A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.4, 1.5), p=0.2),
        A.OneOf([A.Sequential(jpeg, p=1.0), VideoCompression((20, 40), (0.6, 1.0))], p=0.6),
    ]


def _faces_light(size: int) -> list[Any]:
    del size
    colour = [A.RandomBrightnessContrast(0.1, 0.1), A.HueSaturationValue(4, 10, 10)]
    compression = [ShiftedCompression((75, 98)), VideoCompression((18, 28), (0.9, 1.0))]
    return [A.HorizontalFlip(p=0.5), A.OneOf(colour, p=0.3), A.OneOf(compression, p=0.3)]


def _nothing(size: int) -> list[Any]:
    del size
    return []


Window = Callable[[tuple[int, int], Mask | None, int, random.Random, float], tuple[int, int]]


def _random_window(
    shape: tuple[int, int], mask: Mask | None, size: int, draw: random.Random, forged_crops: float
) -> tuple[int, int]:
    """Choose the top and left of a window: that often, where there are any, one that holds a random forged pixel."""
    height, width = shape
    over_forged = draw.random() < forged_crops
    rows = np.cumsum(np.count_nonzero(mask, axis=1)) if mask is not None and over_forged else np.zeros(1, dtype=np.intp)
    if mask is None or rows[-1] == 0:
        return draw.randint(0, height - size), draw.randint(0, width - size)
    row = int(np.searchsorted(rows, draw.randrange(int(rows[-1])), side="right"))
    column = int(draw.choice(np.flatnonzero(mask[row])))
    top, left = draw.randint(row - size + 1, row), draw.randint(column - size + 1, column)
    return min(max(top, 0), height - size), min(max(left, 0), width - size)


def _centre_window(
    shape: tuple[int, int], mask: Mask | None, size: int, draw: random.Random, forged_crops: float
) -> tuple[int, int]:
    del mask, draw, forged_crops
    return (shape[0] - size) // 2, (shape[1] - size) // 2


def _jittered(shape: tuple[int, ...], kept: float, draw: random.Random) -> tuple[slice, slice]:
    """Choose a window that keeps between ``kept`` and 1 of each side: what a face detector does a little differently.

    Nothing is resampled: the scaling to the network's input takes up the difference.
    """
    share = draw.uniform(kept, 1.0)
    sides = [max(1, round(side * share)) for side in shape]
    starts = [draw.randint(0, whole - side) for whole, side in zip(shape, sides, strict=True)]
    top, left = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return top, left


@dataclass(frozen=True)
class _Definition:
    steps: Callable[[int], list[Any]]
    window: Window
    scales: bool = False  # whether the first step scales a crop of the window, for which it needs a size
    kept: float = 1.0  # the least share of each side that is kept where no size is given


_DEFINITIONS = {
    "forgery": _Definition(_forgery, _random_window, scales=True),
    "enhanced": _Definition(_enhanced, _random_window, scales=True),
    "native": _Definition(_native, _random_window),
    "faces": _Definition(_faces, _random_window, kept=0.9),
    "faces_light": _Definition(_faces_light, _random_window, kept=0.95),
    "none": _Definition(_nothing, _centre_window),
}
POLICIES = tuple(_DEFINITIONS)


def compose(name: str, size: int) -> Any:
    """Return the ``albumentations.Compose`` of a policy's steps, without the window that is cut first.

    Raises:
        SettingsError: for a name that is none of ``POLICIES``.
    """
    if name not in _DEFINITIONS:
        raise unknown_name("augmentation policy", name, POLICIES)
    return A.Compose(_DEFINITIONS[name].steps(size))


class Policy:
    """An augmentation: a pure function of picture, mask and seed, safe in threads and processes, and picklable.

    It neither reads nor changes any global random state. Normalisation is no part of it: pictures stay uint8, and are
    normalised with the input specification's mean and standard deviation on the device, by ``models.inputs.Normalize``.
    """

    def __init__(self, name: str, size: int | None, native: bool = True, forged_crops: float = FORGED_CROPS) -> None:
        if size is not None and size < 1:
            raise SettingsError(f"augmentation size = {size}: allowed are sizes from 1 px")
        compose(name, size or 1)
        definition = _DEFINITIONS[name]
        self.name, self.size = name, size
        self._window, self._native, self._forged_crops = definition.window, native, forged_crops
        self._side = round((size or 1) * (WINDOW_MARGIN if definition.scales and native else 1))
        if size is None and definition.scales:
            whole = ", ".join(name for name, definition in _DEFINITIONS.items() if not definition.scales)
            raise SettingsError(f"policy = {name!r} scales crops of photographs; policies that keep a picture: {whole}")
        self._thread = threading.local()  # albumentations keeps the state of a call in the object

    def __reduce__(self) -> tuple[type["Policy"], tuple[str, int | None, bool, float]]:
        return (Policy, (self.name, self.size, self._native, self._forged_crops))

    def __call__(self, rgb: Rgb, mask: Mask | None, seed: int, *, frame: int = 0) -> tuple[Rgb, Mask]:
        """Augment one picture.

        Args:
            rgb: uint8 [H, W, 3], RGB; never changed in place.
            mask: bool [H, W], or None for a picture with no forged pixel, which is faster than a mask of zeros and
                gives the same result.
            seed: not negative; equal seeds give equal results, and draw equal parameters for pictures of equal size.
            frame: number of the picture in a clip whose frames share a seed: only noise is drawn anew in each.

        Returns:
            uint8 [size, size, 3] and bool [size, size]; without a size [h, w, 3] and [h, w], the picture's own or that
            of a window in it.
        """
        draw = random.Random(int(seed))  # a NumPy integer is no seed to it
        return self.change(*self.window(rgb, mask, draw), seed, draw, frame=frame)

    def window(self, rgb: Rgb, mask: Mask | None, draw: random.Random) -> tuple[Rgb, Mask | None]:
        """Cut the window that the other steps then change, at a place taken from ``draw``."""
        if self.size is None:
            window = _jittered(rgb.shape[:2], _DEFINITIONS[self.name].kept, draw)
        else:
            rgb, mask = pad_to(rgb, side := self._side), None if mask is None else pad_to(mask, side)
            top, left = self._window((rgb.shape[0], rgb.shape[1]), mask, side, draw, self._forged_crops)
            window = np.s_[top : top + side, left : left + side]
        return rgb[window], None if mask is None else mask[window]

    def change(
        self, rgb: Rgb, mask: Mask | None, seed: int, draw: random.Random, *, frame: int = 0
    ) -> tuple[Rgb, Mask]:
        """Do all but the window; the parameters come from ``draw`` and ``seed``, the rest is as in a call."""
        steps = getattr(self._thread, "steps", None)
        if steps is None:
            steps = self._thread.steps = compose(self.name, self.size or 1)
        # set_random_seed would start every step at the same number, so that a picture is flipped both ways or neither.
        steps.set_random_state(np.random.default_rng(seed), draw)
        given: dict[str, Any] = {"image": np.ascontiguousarray(rgb), "frame": frame}
        if mask is not None:
            given["mask"] = np.ascontiguousarray(mask).view(np.uint8)
        result = steps(**given)
        if mask is None:
            return result["image"], np.zeros(result["image"].shape[:2], dtype=np.bool_)
        return result["image"], result["mask"].astype(np.bool_)


def policy(name: str, size: int | None = 512, *, native: bool = True, forged_crops: float = FORGED_CROPS) -> Policy:
    """Return an augmentation policy.

    First a window is cut, in a forged picture with probability ``forged_crops`` one that holds a forged pixel.

    ``forgery``: a window of 1.085 times ``size``, so that the scale is 1 in the median; of it RandomResizedCrop to
    ``size`` (scale 0.7 to 1), horizontal and vertical flip and RandomRotate90 (p 0.5 each), one of Gaussian noise (std
    0.01 to 0.05), Gaussian blur and median blur (kernel 3 px) with p 0.3, one of brightness and contrast (0.2, 0.2),
    hue, saturation and value (10, 20, 20) and colour jitter (0.2, 0.2, 0.2, 0.1) with p 0.5.

    ``enhanced``: the same with colour changes twice as strong and p 0.7, scaling down to 0.5 to 0.9 and up again (p
    0.4), and one to three compressions as JPEG or WebP of random quality 50 to 95 (p 0.7).

    ``native``: a window of ``size`` px, so that no trace is resampled. Then flips and rotation as above, mild colour
    changes (p 0.3), and one JPEG compression of quality 75 to 98 (p 0.3).

    ``faces``: a window of 0.9 to 1 of the crop's side, horizontal flip (p 0.5), one of brightness and contrast (0.15,
    0.15) and hue, saturation and value (6, 20, 15) with p 0.4, Gaussian noise (std 0.005 to 0.03, p 0.2), scaling down
    to 0.4 to 0.9 and up again (p 0.25), Gaussian blur (sigma 0.4 to 1.5 px, p 0.2), and with p 0.6 either JPEG of
    quality 40 to 95, half of them twice, on shifted grids, or a key frame of H.264 (crf 20 to 40) at 0.6 to 1 of the
    size. ``faces_light``: a window of 0.95 to 1, the flip, weaker colours (p 0.3), and one mild compression (p 0.3).

    ``none``: the window in the middle, and nothing else.

    A window larger than the picture is filled by reflection. A crop without a forged pixel has an empty mask.

    Args:
        name: one of ``POLICIES``.
        size: side of the result, px; None keeps a picture as large as it is, but for the window of ``faces`` and
            ``faces_light``; ``forgery`` and ``enhanced`` need a size.
        native: False for pictures that were scaled to ``size`` already: the window is then all of them.
        forged_crops: 0..1.

    Raises:
        SettingsError: for an unknown name or a size below 1, or none where one is needed.
    """
    return Policy(name, size, native, forged_crops)
