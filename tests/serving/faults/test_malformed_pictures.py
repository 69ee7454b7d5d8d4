"""Files that are no pictures, halves of pictures, and pictures that are more than they seem."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

WIDTH, HEIGHT = 120, 90
SWOLLEN = 50_000_000
REASONS = {"not-a-picture", "truncated", "damaged", "too-many-pixels", "unsupported-colour", "empty"}


def pixels(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(pixels())).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, depth: int = 1, colour: int = 0, rows: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A little-endian TIFF of one directory, of tags as (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + bytes(64)


def plain_tiff(width: int, height: int, **changes: int) -> bytes:
    size = changes.get("size", 64)
    tags = {256: width, 257: height, 258: 8, 259: changes.get("compression", 1), 262: 1, 273: 8, 278: height, 279: size}
    return tiff(*((number, 4, 1, value) for number, value in tags.items()), following=changes.get("following", 0))


def jpeg_with(marker: bytes, content: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + marker + struct.pack(">H", len(content) + 2) + content + data[2:]


def truncated() -> dict[str, bytes]:
    whole = {kind: saved(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")}
    whole["JPEG progressive"] = saved("JPEG", progressive=True)
    return {
        f"{kind} {tenth}/10": data[: len(data) * tenth // 10] for kind, data in whole.items() for tenth in range(10)
    }


def strangers() -> dict[str, bytes]:
    return {
        "GIF": saved("GIF"),
        "ICO": saved("ICO"),
        "PPM": saved("PPM"),
        "TGA": saved("TGA"),
        "PDF": saved("PDF"),
        "JPEG 2000": saved("JPEG2000"),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
        "HTML": b"<!doctype html><title>404</title>",
        "XML bomb": b'<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) run\n",
        "ZIP": b"PK\x03\x04" + bytes(60),
        "gzip of a PNG": zlib.compress(saved("PNG"), wbits=31),
        "NumPy": b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (9,)}" + bytes(99),
        "text": b"NaN",
        "one byte": b"\xff",
        "zeros": bytes(10_000),
        "noise": np.random.default_rng(0).bytes(10_000),
        "URL": b"http://169.254.169.254/latest/meta-data/",
        "PNG in text": b"data:image/png;base64,iVBORw0KGgo=",
        "signature of a PNG": b"\x89PNG\r\n\x1a\n",
        "signature of a JPEG": b"\xff\xd8\xff\xe0",
        "signature of a TIFF": b"II*\0",
        "signature of a WebP": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "signature of a BMP": b"BM",
    }


def bombs() -> dict[str, bytes]:
    rows = zlib.compress(bytes(30_000 * 3751), 9)
    wide = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))
    sof = saved("JPEG")
    at = sof.index(b"\xff\xc0")
    bmp = bytearray(saved("BMP"))
    return {
        "PNG 30000 × 30000": wide + chunk(b"IDAT", rows) + chunk(b"IEND", b""),
        "PNG of the largest size": png(2**31 - 1, 2**31 - 1),
        "PNG of a size with a sign": png(2**32 - 1, 2**32 - 1),
        "PNG of one long row": png(2**31 - 1, 1),
        "PNG without size": png(0, 0),
        "PNG of 16 bits and 9 × 10⁸ px": png(30_000, 30_000, depth=16, colour=6),
        "JPEG 65535 × 65535": sof[: at + 5] + b"\xff\xff\xff\xff" + sof[at + 9 :],
        "JPEG without height": sof[: at + 5] + b"\0\0" + sof[at + 7 :],
        "TIFF of the largest size": plain_tiff(2**32 - 1, 2**32 - 1),
        "TIFF 30000 × 30000": plain_tiff(30_000, 30_000),
        "TIFF without size": plain_tiff(0, 0),
        "TIFF that is its own next page": plain_tiff(8, 8, following=8, compression=7),
        "TIFF of an unknown compression": plain_tiff(8, 8, compression=12345),
        "TIFF with a strip beyond the end": plain_tiff(2000, 2000, size=2**32 - 1),
        "TIFF with a million tags": b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100),
        "WebP 16384 × 16384": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0" + bytes(8),
        "BMP of a huge size": bytes(bmp[:18]) + struct.pack("<ii", 2**31 - 1, -(2**31)) + bytes(bmp[26:]),
        "BMP of a negative size": bytes(bmp[:18]) + struct.pack("<ii", -WIDTH, HEIGHT) + bytes(bmp[26:]),
        "text chunk of 50 MB": png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(SWOLLEN), 9)), rows=bytes(16)),
        "profile of 50 MB": png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(SWOLLEN), 9)), rows=bytes(16)),
        "pixels that are not compressed": png(8, 8, depth=8).replace(zlib.compress(b""), b"\7" * 8),
        "too few pixels": png(80, 80, depth=8, rows=bytes(100)),
    }


def oddities() -> dict[str, bytes]:
    """What is unusual, and a picture all the same."""
    image = Image.fromarray(pixels())
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 100_000)
    grey = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 6).astype(np.uint16)
    return {
        "16 bits": saved("PNG", Image.fromarray(grey)),
        "one bit": saved("PNG", image.convert("1")),
        "palette": saved("PNG", image.convert("P")),
        "palette with transparency": saved("PNG", image.convert("P"), transparency=3),
        "grey with alpha": saved("PNG", image.convert("LA")),
        "alpha": saved("WEBP", image.convert("RGBA"), lossless=True),
        "CMYK": saved("JPEG", image.convert("CMYK")),
        "CMYK TIFF": saved("TIFF", image.convert("CMYK"), compression="tiff_lzw"),
        "Lab TIFF": saved("TIFF", image.convert("LAB")),
        "YCbCr TIFF": saved("TIFF", image, compression="jpeg"),
        "grey JPEG": saved("JPEG", image.convert("L")),
        "one pixel": saved("PNG", image.crop((0, 0, 1, 1))),
        "one row": saved("PNG", Image.new("RGB", (3000, 1))),
        "one column": saved("JPEG", Image.new("RGB", (1, 3000))),
        "all of quality 1": saved("JPEG", quality=1),
        "turned": saved("JPEG", exif=exif),
        "comment": saved("PNG", pnginfo=info),
        "animation": saved("PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))] * 3),
        "pages": saved("TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))] * 3),
        "bytes behind the end": saved("JPEG") + b"PK\x03\x04" + bytes(5000),
        "EXIF that is noise": jpeg_with(b"\xff\xe1", b"Exif\0\0" + np.random.default_rng(1).bytes(4000)),
        "EXIF that points to itself": jpeg_with(
            b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
        ),
        "EXIF with a count beyond the end": jpeg_with(
            b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0\0\0\0\0"
        ),
        "profile that is noise": saved("JPEG", icc_profile=np.random.default_rng(2).bytes(4000)),
    }


REFUSED = truncated() | strangers() | bombs()
JUDGED = oddities()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_picture_is_refused_with_a_reason(target: Any, name: str) -> None:
    reply = target.analyze(REFUSED[name])
    assert reply.status == 422, reply.body
    assert reply.reason in REASONS


@pytest.mark.parametrize("name", JUDGED)
def test_an_odd_picture_is_judged(target: Any, name: str) -> None:
    reply = target.analyze(JUDGED[name])
    assert reply.status == 200, reply.body


def test_none_of_them_leaves_anything_behind(
    target: Any, unharmed: None, no_growth: Callable[[Callable[[], None]], None]
) -> None:
    def send_all() -> None:
        for data in [*REFUSED.values(), *JUDGED.values()]:
            assert target.analyze(data).status in (200, 422)

    before = target.peak
    no_growth(send_all)
    assert target.peak - before < 200 * 2**20
