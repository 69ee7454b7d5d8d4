import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from skimage import data

from core.errors import BadInputError
from media import pictures
from media.pictures import decode_picture, decode_stored


@pytest.fixture(scope="module")
def photograph():
    return np.ascontiguousarray(data.coffee()[:211, :333])


def _encode(rgb, kind, **options):
    stream = io.BytesIO()
    (rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)).save(stream, kind, **options)
    return stream.getvalue()


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _xmp():
    text = PngImagePlugin.PngInfo()
    packet = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    text.add_itxt("XML:com.adobe.xmp", packet)
    return text


PLAIN = [
    ("PNG", {}),
    ("PNG", {"compress_level": 0}),
    *(("JPEG", {"quality": quality, "subsampling": chroma}) for quality in (20, 75, 98) for chroma in (0, 1, 2)),
    ("JPEG", {"quality": 85, "progressive": True}),
    ("JPEG", {"quality": 85, "optimize": True}),
]
OTHER = [
    ("PNG", {"exif": _turned()}),
    ("PNG", {"pnginfo": _xmp()}),
    ("JPEG", {"exif": _turned()}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("BMP", {}),
]


@pytest.mark.parametrize(("kind", "options"), PLAIN + OTHER)
def test_a_stored_picture_has_the_pixels_it_had_when_it_was_accepted(photograph, kind, options):
    encoded = _encode(photograph, kind, **options)
    np.testing.assert_array_equal(decode_stored(encoded), decode_picture(encoded))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_other_colour_modes_too(photograph, mode):
    image = Image.fromarray(photograph[..., 0].astype(np.uint16) * 257) if mode == "I;16" else None
    image = image or Image.fromarray(photograph).convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    encoded = _encode(image, "JPEG" if mode == "CMYK" else "PNG")
    np.testing.assert_array_equal(decode_stored(encoded), decode_picture(encoded))


@pytest.mark.parametrize(("kind", "options"), PLAIN)
def test_plain_pictures_do_not_take_the_slow_way(photograph, kind, options, monkeypatch):
    monkeypatch.setattr(pictures, "decode_picture", None)
    assert decode_stored(_encode(photograph, kind, **options)).shape == photograph.shape


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_cut_short_is_refused_and_never_filled_with_grey(photograph, kind):
    encoded = _encode(photograph, kind)
    for size in (0, 30, len(encoded) // 2, len(encoded) - 1 if kind == "JPEG" else len(encoded) - 12):
        with pytest.raises(BadInputError):
            decode_stored(encoded[:size])
