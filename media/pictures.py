"""Still pictures and masks: from untrusted bytes to arrays, and back to bytes without loss.

Pillow decodes, because it checks headers before it allocates, refuses incomplete files (OpenCV fills what is missing
with grey) and knows 16-bit, palette, alpha and CMYK files; ``media.soundness`` listens to what it leaves out of JPEG
files. OpenCV only writes PNG, at which it is the faster.

Conventions:
    * A picture is as a viewer shows it: EXIF orientation applied, alpha composited on white.
    * 16-bit samples keep their high byte, as libpng's ``strip_16`` does.
    * Of an animation or a file of several pages the first frame counts.
    * What a file is, its first bytes decide; its name plays no part.

Reasons of ``BadInputError`` raised here: ``empty``, ``not-a-picture``, ``too-many-pixels``, ``truncated``, ``damaged``,
``unsupported-colour``; for masks also ``mask-type``, ``mask-size``, ``mask-values``, ``mask-not-finite``.
"""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from core.errors import BadInputError
from media.soundness import require_sound_jpeg

MAX_PIXELS = 100_000_000
# Pillow refuses more than twice its own limit whatever the caller allows.
PILLOW_LIMIT = 178_956_970

EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "BMP": "bmp"}
_PLUGINS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # the JPEG plugin opens MPO too
_ORIENTATION_TAG = 0x0112
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk, which has no content, and its checksum
# Sum of the luminance table in ITU-T T.81, Annex K.1, which the IJG library scales by its quality setting.
_STANDARD_LUMINANCE_SUM = 3688
_MASK_LEVEL = 127  # of 0..255; a mask that was resampled or saved as JPEG has greys along its edges


T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    ``rgb`` is uint8 [H, W, 3] as shown; ``extension`` is the usual one of the content; ``orientation`` is the EXIF
    value (1 to 8) that was applied; ``compression`` is ``jpeg-q<n>`` with the estimated quality to the nearest
    multiple of five, or ``png``, ``tiff``, ``webp``, ``bmp``.
    """

    rgb: NDArray[np.uint8]
    extension: str
    orientation: int
    compression: str


def read_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a whole picture.

    Args:
        data: a JPEG, PNG, TIFF, WebP or BMP file.
        max_pixels: the most pixels the header may announce; checked before anything is decoded.

    Raises:
        BadInputError: see the reasons in the module's docstring.
    """
    with _opened(data, max_pixels) as image:
        _require_complete(image, data)
        orientation = _orientation(image)
        image.load()
        rgb = _as_shown(_to_rgb(image), image, orientation)
        return Picture(np.ascontiguousarray(rgb), EXTENSIONS[str(image.format)], orientation, _compression(image))


def decode_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the pixels of ``read_picture``: uint8 [H, W, 3], RGB, as shown."""
    return read_picture(data, max_pixels=max_pixels).rgb


def decode_stored(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture that ``read_picture`` has accepted before; the same pixels, sooner.

    Plain pictures go through OpenCV, which writes them once at three bytes a pixel; Pillow holds four and copies them
    twice. All others, and whatever does not end as it should, take the way of ``decode_picture``.

    Returns:
        uint8 [H, W, 3], RGB, as shown.

    Raises:
        BadInputError: as ``decode_picture``.
    """
    with _opened(data, PILLOW_LIMIT) as image:
        plain = _is_plain(image, data)
    if plain:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is not None:
            return np.asarray(pixels, np.uint8)
    return decode_picture(data, max_pixels=PILLOW_LIMIT)


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Tell whether OpenCV and Pillow certainly agree: eight bits, RGB, opaque, upright, one frame, complete."""
    if image.mode != "RGB" or image.has_transparency_data:
        return False
    if image.format == "PNG":
        upright = not any(mark in data for mark in (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp"))
        return data[24] == 8 and upright and b"acTL" not in data and data[-8:-4] == b"IEND"
    return image.format == "JPEG" and _orientation(image) == 1 and data.endswith(b"\xff\xd9")


def picture_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) as shown, from the header alone.

    Raises:
        BadInputError: ``empty``, ``not-a-picture``, ``too-many-pixels`` or ``damaged``.
    """
    with _opened(data, max_pixels) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF behind its pixels; a header's answer must not cost that.
        known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        swapped = known and _orientation(image) >= 5
        return (height, width) if swapped else (width, height)


def decode_mask(
    data: bytes, shape: tuple[int, int], *, orientation: int = 1, max_pixels: int = MAX_PIXELS
) -> NDArray[np.bool_]:
    """Decode the mask that belongs to a picture.

    A ``.npy`` file may hold booleans, integers or floats in two dimensions, or in three, where instances are stacked
    on the first or the last axis; a pixel is forged if any instance says so. In a picture the brightest of the colour
    channels counts. Values are 0 and 1, or 0 and 255; between those, levels above 127 count as forged.

    A mask fits the picture as shown. One that fits only the stored orientation of the picture is turned with it.

    Args:
        data: a ``.npy`` file, never unpickled, or a picture.
        shape: (height, width) of the picture as shown.
        orientation: the EXIF orientation that was applied to the picture.
        max_pixels: as for ``read_picture``.

    Returns:
        Booleans [H, W], True where forged.

    Raises:
        BadInputError: see the reasons in the module's docstring.
    """
    if not data:
        raise BadInputError("empty", "the mask has no bytes")
    if data.startswith(np.lib.format.MAGIC_PREFIX):
        levels = _flatten(_read_npy(data), shape, orientation)
    else:
        levels = _read_mask_picture(data, max_pixels)
    mask = _binary(levels)
    if mask.shape != shape and orientation >= 5 and mask.shape == shape[::-1]:
        mask = np.ascontiguousarray(_oriented(mask, orientation))
    if mask.shape != shape:
        raise BadInputError("mask-size", f"the mask is {_size(mask.shape)}, the picture is {_size(shape)}")
    return mask


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """Encode without loss: uint8 [H, W, 3] RGB as colour, booleans [H, W] as the stored form of a mask, 0 or 255."""
    if pixels.dtype == np.bool_:
        # One bit a pixel is smaller and decodes four times as fast.
        stored = pixels.astype(np.uint8) * np.uint8(255)
        return cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
    stored = np.asarray(cv2.cvtColor(pixels.astype(np.uint8, copy=False), cv2.COLOR_RGB2BGR), np.uint8)
    return cv2.imencode(".png", stored)[1].tobytes()


def decode_mask_png(data: bytes) -> NDArray[np.bool_]:
    """Decode the stored form of a mask to booleans [H, W].

    Raises:
        BadInputError: ``damaged`` when ``data`` is no such PNG.
    """
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if stored is None:
        raise BadInputError("damaged", "a stored mask cannot be decoded; extract the data set again")
    return np.asarray(stored) > _MASK_LEVEL


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    if not data:
        raise BadInputError("empty", "the file has no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_PLUGINS) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(f"{image.width} × {image.height}", max_pixels)
            yield image
    except BadInputError:
        raise
    except UnidentifiedImageError:
        raise BadInputError("not-a-picture", "not a JPEG, PNG, TIFF, WebP or BMP file") from None
    except Image.DecompressionBombError:
        raise _too_large("more", min(max_pixels, PILLOW_LIMIT)) from None
    except MemoryError:
        raise BadInputError("too-many-pixels", "there is not enough memory to decode it") from None
    except Exception as error:
        # Decoders given hostile bytes raise anything from struct.error to ZeroDivisionError; all mean the same here.
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise BadInputError(reason, f"cannot be decoded: {error or type(error).__name__}") from error


def _too_large(size: str, max_pixels: int) -> BadInputError:
    return BadInputError("too-many-pixels", f"has {size} pixels, more than the limit of {max_pixels:,}")


def _require_complete(image: Image.Image, data: bytes) -> None:
    """Refuse files that end early, or lack a part in the middle, but would still decode to something."""
    if image.format in ("JPEG", "MPO"):
        # After the start of scan an end-of-image marker cannot be part of the coded data.
        complete = data.rfind(b"\xff\xd9") > _start_of_scan(data)
        if complete:
            require_sound_jpeg(data)
    elif image.format == "PNG":
        complete = _PNG_END in data
        if complete:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as again:
                again.verify()  # the checksum of every chunk, which loading alone skips
    elif image.format == "WEBP":
        complete = len(data) >= struct.unpack_from("<I", data, 4)[0] + 8
    else:
        complete = True
    if not complete:
        raise BadInputError("truncated", "the file ends before the picture does")


def _start_of_scan(data: bytes) -> int:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:
            return position
        position += 1 if marker == 0xFF else 2 + int(struct.unpack_from(">H", data, position + 2)[0])
    return position


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # A broken EXIF block says nothing about the pixels; viewers show such a picture unturned.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _as_shown(pixels: NDArray[T], image: Image.Image, orientation: int) -> NDArray[T]:
    # Pillow turns TIFF files, and only these, by itself.
    return pixels if image.format == "TIFF" else _oriented(pixels, orientation)


def _oriented(pixels: NDArray[T], orientation: int) -> NDArray[T]:
    """Turn stored pixels [H, W, ...] as EXIF 2.32, section 4.6.4, tag 0x0112, says they are shown."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise BadInputError("unsupported-colour", "has 32-bit samples, whose range is not known; save it with 8 or 16")
    try:
        if image.has_transparency_data:
            shown = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", shown.size, (255, 255, 255, 255)), shown)
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # converting copies even then
    except ValueError as error:
        raise BadInputError("unsupported-colour", f"colour mode {image.mode} is not supported: {error}") from error


def _compression(image: Image.Image) -> str:
    if image.format not in ("JPEG", "MPO"):
        return str(image.format).lower()
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    if not tables:
        return "jpeg"
    scale = 100 * sum(tables[min(tables)]) / _STANDARD_LUMINANCE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return f"jpeg-q{5 * round(quality / 5)}"


def _read_npy(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, column_major, dtype = readers[np.lib.format.read_magic(stream)](stream)
        count = math.prod(shape)
    except Exception as error:
        # The header is a Python literal: bytes of strangers make its parser raise TokenError, RecursionError and more.
        raise BadInputError("damaged", f"the mask's .npy header cannot be read: {error}") from error
    if dtype.kind not in "buif":
        raise BadInputError("mask-type", f"the mask's .npy holds {dtype}, not booleans or numbers")
    # The announced size is checked against the bytes there are, so that no header can ask for memory.
    if count < 0 or count * dtype.itemsize > len(data) - stream.tell():
        raise BadInputError("truncated", f"the mask's .npy announces {shape} of {dtype} but ends before that")
    values = np.frombuffer(data, dtype, count=count, offset=stream.tell())
    return values.reshape(shape, order="F" if column_major else "C")


def _flatten(stack: NDArray[Any], shape: tuple[int, int], orientation: int) -> NDArray[Any]:
    """Reduce stacked instances to one layer by their greatest value."""
    if stack.ndim == 2:
        return stack
    shapes = (shape, shape[::-1]) if orientation >= 5 else (shape,)
    if stack.ndim == 3 and stack.size:
        for axis, layer in ((0, stack.shape[1:]), (2, stack.shape[:2])):
            if layer in shapes:
                return np.asarray(np.max(stack, axis=axis))
    raise BadInputError("mask-size", f"the mask is {_size(stack.shape)}, the picture is {_size(shape)}")


def _read_mask_picture(data: bytes, max_pixels: int) -> NDArray[Any]:
    with _opened(data, max_pixels) as image:
        _require_complete(image, data)
        orientation = _orientation(image)
        image.load()
        if image.mode.startswith("I;16"):
            deep = np.asarray(image).astype(np.uint16)
            levels: NDArray[Any] = deep >> 8 if deep.max(initial=0) > 255 else deep
        elif image.mode in ("1", "L", "I", "F"):
            levels = np.array(image.convert("L") if image.mode == "1" else image)
        else:
            levels = np.array(image.convert("RGB")).max(axis=2)
        return _as_shown(levels, image, orientation)


def _binary(levels: NDArray[Any]) -> NDArray[np.bool_]:
    if levels.dtype == np.bool_:
        return np.array(levels, dtype=np.bool_)
    numbers = np.asarray(levels)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise BadInputError("mask-not-finite", "the mask holds NaN or infinite values")
    low, high = (float(f(numbers)) for f in (np.min, np.max)) if numbers.size else (0.0, 0.0)
    if low < 0 or high > 255 or 1 < high <= _MASK_LEVEL:
        raise BadInputError("mask-values", f"the mask's values run from {low:g} to {high:g}, not 0 to 1 or 0 to 255")
    return np.asarray(numbers > (0.5 if high <= 1 else _MASK_LEVEL))


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(side) for side in shape) + (" (height × width)" if len(shape) == 2 else "")
