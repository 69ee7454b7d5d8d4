import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from core.errors import BadInputError
from media.pictures import (
    decode_mask,
    decode_mask_png,
    decode_picture,
    encode_png,
    picture_size,
    read_picture,
)

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = np.stack([x * 4 % 256, y * 6 % 256, (x + y) * 3 % 256], axis=2)
    return waves.astype(np.uint8)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def npy(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(BadInputError) as caught:
        call()
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_decode_to_the_same_pixels(file_format: str) -> None:
    assert np.array_equal(decode_picture(encode(Image.fromarray(photo()), file_format)), photo())


def test_jpeg_and_webp_decode_to_nearly_the_same_pixels() -> None:
    smooth = np.asarray(Image.fromarray(photo()).resize((8, 8)).resize((60, 40), Image.Resampling.BICUBIC))
    for data in (encode(Image.fromarray(smooth), f, quality=95) for f in ("JPEG", "WEBP")):
        assert np.abs(decode_picture(data).astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_orientation_is_applied_as_viewers_do(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(Image.fromarray(photo()), file_format, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = read_picture(data)
    assert np.array_equal(found.rgb, expected)
    assert found.orientation == orientation
    assert picture_size(data) == expected.shape[1::-1]


def test_a_broken_exif_block_does_not_cost_the_picture() -> None:
    data = encode(Image.fromarray(photo()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode_picture(data).shape == (40, 60, 3)


def test_deep_grey_keeps_its_high_byte() -> None:
    deep = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    for data in (encode(Image.fromarray(deep), "PNG"), encode(Image.fromarray(deep), "TIFF")):
        assert np.array_equal(decode_picture(data), np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_deep_colour_keeps_its_high_byte() -> None:
    deep = (np.arange(4 * 5 * 3).reshape(4, 5, 3) * 1000).astype(">u2")
    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    assert np.array_equal(decode_picture(data), (deep >> 8).astype(np.uint8))


def test_alpha_is_composited_on_white() -> None:
    clear = np.dstack([photo(), np.zeros((40, 60), np.uint8)])
    half = np.dstack([np.zeros((40, 60, 3), np.uint8), np.full((40, 60), 128, np.uint8)])
    assert (decode_picture(encode(Image.fromarray(clear), "PNG")) == 255).all()
    assert (decode_picture(encode(Image.fromarray(half), "PNG")) == 127).all()


def test_palette_grey_and_bilevel_pictures_become_colour() -> None:
    image = Image.fromarray(photo())
    palette = image.quantize(16)
    assert np.array_equal(decode_picture(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))
    for mode in ("L", "1", "LA"):
        shown = decode_picture(encode(image.convert(mode), "PNG"))
        assert np.array_equal(shown, np.asarray(image.convert(mode).convert("RGB")))


def test_palette_transparency_is_composited_on_white() -> None:
    palette = Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    assert (decode_picture(encode(palette, "PNG", transparency=0)) == 255).all()


def test_cmyk_jpeg_becomes_colour() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    red = decode_picture(data)[8, 8]
    assert red[0] > 200
    assert red[1:].max() < 60


def test_of_several_frames_the_first_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for file_format, options in (("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
        assert decode_picture(data)[4, 4].tolist() == [255, 0, 0]


def test_quality_of_a_jpeg_is_estimated() -> None:
    for quality in (30, 50, 75, 90, 95):
        found = read_picture(encode(Image.fromarray(photo()), "JPEG", quality=quality)).compression
        assert found == f"jpeg-q{quality}"
    assert read_picture(encode(Image.fromarray(photo()), "BMP")).compression == "bmp"


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files_are_refused(file_format: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noisy), file_format)
    assert reason(lambda: read_picture(data[: int(len(data) * kept)])) in ("truncated", "damaged", "not-a-picture")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("missing", [1, 2, 7, 12])
def test_files_that_lack_only_their_last_bytes_are_refused(file_format: str, missing: int) -> None:
    data = encode(Image.fromarray(photo()), file_format)
    assert reason(lambda: read_picture(data[:-missing])) in ("truncated", "damaged")


def test_compressed_tiff_without_its_strips_is_refused() -> None:
    rng = np.random.default_rng(0)
    noisy = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        data = bytearray(encode(noisy, "TIFF", compression=compression))
        tail = len(data) // 3
        assert reason(lambda cut=bytes(data[:-tail]): read_picture(cut)) in ("truncated", "damaged", "not-a-picture")


def test_a_flipped_bit_in_png_data_is_refused() -> None:
    data = bytearray(encode(Image.fromarray(photo()), "PNG"))
    data[len(data) // 2] ^= 0x10
    assert reason(lambda: read_picture(bytes(data))) == "damaged"


def test_bytes_after_the_end_do_no_harm() -> None:
    for file_format in FORMATS:
        assert decode_picture(encode(Image.fromarray(photo()), file_format) + b"trailer" * 9).shape == (40, 60, 3)


def test_a_picture_larger_than_the_limit_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    bomb += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 10_000) + b"IDAT"
    assert reason(lambda: read_picture(bomb)) == "too-many-pixels"
    assert reason(lambda: picture_size(bomb)) == "too-many-pixels"
    small = encode(Image.fromarray(photo()), "PNG")
    assert reason(lambda: read_picture(small, max_pixels=40 * 60 - 1)) == "too-many-pixels"
    assert read_picture(small, max_pixels=40 * 60).rgb.shape == (40, 60, 3)


def test_what_is_no_picture_is_refused() -> None:
    assert reason(lambda: read_picture(b"")) == "empty"
    assert reason(lambda: read_picture(b"hello, world" * 50)) == "not-a-picture"
    assert reason(lambda: read_picture(encode(Image.fromarray(photo()), "GIF"))) == "not-a-picture"
    assert reason(lambda: read_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 20)) == "not-a-picture"


def test_float_pictures_are_refused() -> None:
    assert reason(lambda: read_picture(encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))) == (
        "unsupported-colour"
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_raise_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(encode(Image.fromarray(photo()), data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_picture(bytes(whole), max_pixels=10_000).dtype == np.uint8
    except BadInputError as error:
        assert error.reason


MASK = np.zeros((40, 60), bool)
MASK[5:20, 10:30] = True


@pytest.mark.parametrize(
    "stored",
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.int64),
        MASK.astype(np.float32),
        MASK.astype(np.float64) * 255,
        np.asfortranarray(MASK),
        np.stack([MASK, np.zeros_like(MASK)]),
        np.stack([np.zeros_like(MASK), MASK, MASK], axis=2),
        np.stack([MASK & (np.arange(60) < 20), MASK & (np.arange(60) >= 20)]).astype(np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_masks_in_npy_are_read_in_every_form(stored: np.ndarray) -> None:
    assert np.array_equal(decode_mask(npy(stored), (40, 60)), MASK)


def test_masks_in_pictures_are_read_in_every_form() -> None:
    levels = Image.fromarray(MASK.astype(np.uint8) * 255)
    deep = Image.fromarray(MASK.astype(np.uint16) * 65535)
    ones = Image.fromarray(MASK.astype(np.uint8))
    red = Image.merge("RGB", [levels, Image.new("L", (60, 40)), Image.new("L", (60, 40))])
    for image in (levels, deep, ones, red, levels.convert("1"), levels.convert("P"), levels.convert("RGBA")):
        assert np.array_equal(decode_mask(encode(image, "PNG"), (40, 60)), MASK), image.mode
    for file_format in ("TIFF", "BMP"):
        assert np.array_equal(decode_mask(encode(levels, file_format), (40, 60)), MASK)


def test_a_mask_fits_the_picture_as_shown_or_is_turned_with_it() -> None:
    shown = np.rot90(MASK, -1)  # as orientation 6 shows it
    assert np.array_equal(decode_mask(npy(shown), (60, 40), orientation=6), shown)
    assert np.array_equal(decode_mask(npy(MASK), (60, 40), orientation=6), shown)
    assert np.array_equal(decode_mask(npy(np.stack([MASK, MASK])), (60, 40), orientation=6), shown)
    assert reason(lambda: decode_mask(npy(MASK), (60, 40), orientation=1)) == "mask-size"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (MASK[:-1], "mask-size"),
        (MASK[None, :, :-1], "mask-size"),
        (np.zeros((0, 40, 60)), "mask-size"),
        (MASK.ravel(), "mask-size"),
        (np.zeros((2, 2, 40, 60), np.uint8), "mask-size"),
        (np.array(3), "mask-size"),
        (np.where(MASK, np.nan, 0), "mask-not-finite"),
        (np.where(MASK, np.inf, 0), "mask-not-finite"),
        (MASK.astype(np.int32) * -1, "mask-values"),
        (MASK.astype(np.int32) * 7, "mask-values"),
        (MASK.astype(np.int32) * 256, "mask-values"),
        (MASK.astype(np.complex64), "mask-type"),
        (MASK.astype("U4"), "mask-type"),
        (MASK.astype("S4"), "mask-type"),
        (MASK.astype("datetime64[s]"), "mask-type"),
        (np.zeros((40, 60), [("a", "u1"), ("b", "u1")]), "mask-type"),
    ],
    ids=str,
)
def test_masks_that_say_nothing_certain_are_refused(stored: np.ndarray, expected: str) -> None:
    assert reason(lambda: decode_mask(npy(stored), (40, 60))) == expected


class Explosive:
    exploded = False

    def __reduce__(self) -> tuple[object, ...]:
        return (setattr, (Explosive, "exploded", True))


def test_a_pickle_in_a_mask_is_never_loaded() -> None:
    data = npy(np.array([[Explosive()]], dtype=object), allow_pickle=True)
    assert reason(lambda: decode_mask(data, (1, 1))) == "mask-type"
    assert not Explosive.exploded


def test_a_mask_whose_header_asks_for_memory_is_refused() -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 20, 1 << 20, 1 << 20)}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    assert reason(lambda: decode_mask(stream.getvalue() + b"\0" * 100, (40, 60))) == "truncated"
    whole = npy(MASK)
    assert reason(lambda: decode_mask(whole[:-1], (40, 60))) == "truncated"
    for cut in (7, 9, 20):
        assert reason(lambda cut=cut: decode_mask(whole[:cut], (40, 60))) == "damaged"


def test_masks_that_are_no_mask_files_are_refused() -> None:
    assert reason(lambda: decode_mask(b"", (4, 4))) == "empty"
    assert reason(lambda: decode_mask(b"PK\3\4 an npz", (4, 4))) == "not-a-picture"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_is_encoded_comes_back(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < 0.3
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(decode_mask_png(encode_png(mask)), mask)
    assert np.array_equal(decode_mask(encode_png(mask), (height, width)), mask)
    assert np.array_equal(decode_picture(encode_png(rgb)), rgb)


def test_a_damaged_stored_mask_is_refused() -> None:
    assert reason(lambda: decode_mask_png(b"")) == "damaged"
    assert reason(lambda: decode_mask_png(b"no png")) == "damaged"
