"""Well over a hundred inputs that are wrong, each in its own way: the step ends well and accounts for every one."""

import contextlib
import ctypes
import io
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from data.index import read_index

MakeRecipe = Callable[..., ExtractRecipe]
Rejected = Callable[[Path], dict[str, str]]

FORMATS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP"}
UNDECODABLE = {"truncated", "damaged", "not-a-picture"}
GOOD = 4  # pictures that must come through


def noise(side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def png(width: int, height: int, body: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 2**31)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 40


def bmp(width: int, height: int) -> bytes:
    return (
        struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 100, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 46
    )


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(encode(noise(), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def truncated() -> Iterator[tuple[str, bytes, set[str]]]:
    for extension, file_format in FORMATS.items():
        data = encode(noise(), file_format)
        for kept in (0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
            yield f"truncated-{kept}.{extension}", data[: int(len(data) * kept)], UNDECODABLE
        yield f"zero-bytes.{extension}", b"", {"empty"}
        yield f"magic-only.{extension}", data[:4] + os.urandom(200), UNDECODABLE
        yield f"zeroed.{extension}", b"\0" * len(data), UNDECODABLE
        yield f"two-thirds-missing.{extension}", data[: len(data) // 3] + data[-2:], UNDECODABLE


def wrong_types() -> Iterator[tuple[str, bytes, set[str]]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("a.png", encode(noise(), "PNG"))
    kinds = {
        "text.png": b"this is not a picture\n" * 40,
        "page.jpg": b"<!doctype html><title>404 Not Found</title>" * 9,
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>' * 3,
        "paper.tif": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 20,
        "archive.webp": archive.getvalue(),
        "gif.png": encode(noise(), "GIF"),
        "icon.bmp": encode(noise(), "ICO"),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" * 9,
        "program.png": Path(sys.executable).read_bytes()[:4000],
        "sound.webp": b"RIFF\x24\x10\0\0WAVEfmt " + b"\0" * 4000,
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + b"\0" * 500,
        "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 500,
        "photoshop.tif": b"8BPS\0\1" + b"\0" * 500,
        "netpbm.bmp": b"P6 4 4 255\n" + b"\x80" * 48,
        "lfs-pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "array.png": npy(np.zeros((8, 8, 3), np.uint8)),
    }
    for name, data in kinds.items():
        yield name, data, {"not-a-picture"}
    yield "float.tif", encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), {"unsupported-colour"}
    yield "int32.tif", encode(Image.fromarray(np.ones((8, 8), np.int32)), "TIFF"), {"unsupported-colour"}
    for name in ("picture.gif", "picture", "picture.png.txt", ".DS_Store", "Thumbs.db", "picture.heic", "picture.svg"):
        yield name, encode(noise(), "PNG"), {"unknown-extension"}


def bombs() -> Iterator[tuple[str, bytes, set[str]]]:
    too_large = {"too-many-pixels"}
    yield "bomb-header.png", png(100_000, 100_000), too_large
    yield "bomb-limit.png", png(2**31 - 1, 2**31 - 1), too_large | UNDECODABLE
    rows = zlib.compressobj()
    packed = b"".join(rows.compress(b"\0" * 3751) for _ in range(30_000)) + rows.flush()
    yield "bomb-real.png", png(30_000, 30_000, packed, depth=1, colour=0), too_large
    yield "bomb.tif", tiff(100_000, 100_000), too_large
    yield "bomb-strip.tif", tiff(9_000, 9_000), UNDECODABLE
    yield "bomb.bmp", bmp(60_000, 60_000), too_large
    yield "bomb.jpg", jpeg_header(65_000, 65_000), too_large
    yield "lie.jpg", jpeg_header(9_000, 9_000), UNDECODABLE
    yield "short-data.png", png(2_000, 2_000, zlib.compress(b"\0" * 100)), UNDECODABLE
    yield "no-size.png", png(0, 0), UNDECODABLE
    yield "bytes.png", encode(noise(300), "PNG"), {"too-many-bytes"}


def flipped() -> Iterator[tuple[str, bytes, set[str]]]:
    data = encode(noise(), "PNG")
    for position in (12, 18, 24, 40, len(data) // 2, len(data) - 6):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        yield f"flipped-{position}.png", bytes(changed), UNDECODABLE | {"too-many-pixels"}


def odd_names() -> Iterator[tuple[str, bytes, set[str]]]:
    for name in (
        "...png", "..png.png", "%2e%2e%2fpasswd.png", "..\\..\\passwd.png", "-rf.png", "$(reboot).png", "`id`.png",
        "'.png", '".png', "<script>alert(1)</script>.png", "CON.png", "a b .png", " .png", "*.png", "?.png", "~.png",
        "漢字.png", "\u202egnp.png", "e\u0301.png", "x" * 251 + ".png", "very/" * 30 + "deep.png", "{0}%s.png",
    ):  # fmt: skip
        yield name, b"malformed", {"not-a-picture"}
    for name in (
        "new\nline.png",
        "return\r.png",
        "tab\t.png",
        "escape\x1b[31m.png",
        "delete\x7f.png",
        "para\u2029.png",
    ):
        yield name, encode(noise(), "PNG"), {"bad-name"}
    yield os.fsdecode(b"latin-\xe9\xff.png"), encode(noise(), "PNG"), {"bad-name"}


def special_files(root: Path) -> dict[str, set[str]]:
    """Make what is no regular file, and return what is to be said of it."""
    os.mkfifo(root / "pipe.png")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        before = Path.cwd()
        os.chdir(root)  # the path of a socket may have 107 bytes only
        listener.bind("socket.png")
        os.chdir(before)
    (root / "loop.png").symlink_to("loop.png")
    (root / "nowhere.png").symlink_to("absent.png")
    (root / "device.png").symlink_to("/dev/zero")
    (root / "circle").symlink_to(root)
    (root / "folder.png").mkdir()
    (root / "folder.png/inside.png").write_bytes(b"malformed")
    unreadable = {"unreadable", "empty"}
    return dict.fromkeys(("pipe.png", "socket.png", "loop.png", "nowhere.png", "device.png"), unreadable) | {
        "folder.png/inside.png": {"not-a-picture"}
    }


def printed(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def test_malformed_pictures_are_each_accounted_for(tmp_path: Path, recipe: MakeRecipe, rejected: Rejected) -> None:
    source = tmp_path / "in"
    cases = [*truncated(), *wrong_types(), *bombs(), *flipped(), *odd_names()]
    for name, data, _ in cases:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    expected = {printed(name): reasons for name, _, reasons in cases} | special_files(source)
    for number in range(GOOD):
        noise(40 + number).save(source / f"good-{number}.png")
    assert len(expected) > 100
    settings = recipe("flat", splits={"all": "test"}, limits={"max_bytes": 200_000})
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=2)
    found = rejected(tmp_path / "out")
    assert set(found) == set(expected)
    wrong = {name: reason for name, reason in found.items() if reason not in expected[name]}
    assert wrong == {}
    index = read_index(tmp_path / "out")
    assert [name.rpartition("/")[2] for name in index.column("media_id")] == [f"good-{n}.png" for n in range(GOOD)]


class Explosive:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch /tmp/veriframe-was-unpickled",))


def masks() -> dict[str, tuple[bytes, str]]:
    right = np.zeros((48, 48), np.uint8)
    right[4:20, 4:20] = 1
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "|u1", "fortran_order": False, "shape": (1 << 30, 1 << 30)})
    archive = io.BytesIO()
    np.savez(archive, mask=right)
    return {
        "smaller": (npy(right[:-1]), "mask-size"),
        "larger": (npy(np.pad(right, 1)), "mask-size"),
        "turned": (npy(right[:40].T), "mask-size"),
        "stack-of-wrong": (npy(np.stack([right[:, :-1]] * 2)), "mask-size"),
        "one-dimension": (npy(right.ravel()), "mask-size"),
        "no-dimension": (npy(np.array(1)), "mask-size"),
        "four-dimensions": (npy(right[None, None]), "mask-size"),
        "empty-stack": (npy(np.zeros((0, 48, 48))), "mask-size"),
        "nan": (npy(np.where(right, np.nan, 0)), "mask-not-finite"),
        "infinite": (npy(np.where(right, np.inf, 0).astype(np.float16)), "mask-not-finite"),
        "negative": (npy(right.astype(np.int8) * -1), "mask-values"),
        "class-numbers": (npy(right * np.uint8(2)), "mask-values"),
        "too-great": (npy(right.astype(np.uint16) * 300), "mask-values"),
        "complex": (npy(right.astype(np.complex64)), "mask-type"),
        "strings": (npy(right.astype("U8")), "mask-type"),
        "records": (npy(np.zeros((48, 48), [("a", "u1")])), "mask-type"),
        "times": (npy(right.astype("timedelta64[s]")), "mask-type"),
        "objects": (npy(right.astype(object)), "mask-type"),
        "pickle": (npy(np.full((48, 48), Explosive(), dtype=object)), "mask-type"),
        "header-bomb": (bomb.getvalue() + b"\0" * 64, "mask-truncated"),
        "cut": (npy(right)[:-1], "mask-truncated"),
        "cut-header": (npy(right)[:30], "mask-damaged"),
        "magic-only": (b"\x93NUMPY", "mask-damaged"),
        "version": (b"\x93NUMPY\x09\x00" + npy(right)[8:], "mask-damaged"),
        "code-in-header": (npy(right).replace(b"'fortran_order': False", b"'fortran_order': exit("), "mask-damaged"),
        "zero-bytes": (b"", "mask-empty"),
        "nothing-marked": (npy(right * 0), "mask-blank"),
        "archive": (archive.getvalue(), "mask-not-a-picture"),
        "text": (b"0 0 1 1\n" * 99, "mask-not-a-picture"),
    }


def test_malformed_masks_are_each_accounted_for(tmp_path: Path, recipe: MakeRecipe, rejected: Rejected) -> None:
    source, marker = tmp_path / "in", Path("/tmp/veriframe-was-unpickled")
    marker.unlink(missing_ok=True)
    for folder in ("train_images/forged", "train_images/authentic", "train_masks"):
        (source / folder).mkdir(parents=True)
    cases = masks()
    for name, (data, _) in cases.items():
        noise().save(source / f"train_images/forged/{name}.png")
        (source / f"train_masks/{name}.npy").write_bytes(data)
    expected = {f"train_images/forged/{name}.png": reason for name, (_, reason) in cases.items()}
    (source / "train_masks/alone.npy").write_bytes(npy(np.ones((48, 48), bool)))
    noise().save(source / "train_images/forged/unmasked.png")
    noise().save(source / "train_images/forged/twice.png")
    for extension in ("npy", "png"):
        (source / f"train_masks/twice.{extension}").write_bytes(b"x")
    expected |= {
        "train_masks/alone.npy": "mask-without-picture",
        "train_images/forged/unmasked.png": "no-mask",
        "train_images/forged/twice.png": "ambiguous-mask",
    }
    for number in range(GOOD):
        noise(40 + number).save(source / f"train_images/authentic/good-{number}.png")
    settings = recipe(splits={"all": "test"})
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=2)
    assert rejected(tmp_path / "out") == expected
    assert len(read_index(tmp_path / "out")) == GOOD
    assert not marker.exists()


def drop_override() -> None:
    """Take the right to read whatever one likes from root, in the child alone (PR_CAPBSET_DROP, linux/capability.h)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)


def run_without_override(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command], preexec_fn=drop_override, capture_output=True, text=True, check=False
    )


def test_unreadable_files_are_accounted_for(tmp_path: Path, recipe: MakeRecipe, rejected: Rejected) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(GOOD):
        noise(40 + number).save(source / f"good-{number}.png")
    noise().save(source / "secret.png")
    (source / "secret.png").chmod(0)
    if run_without_override("-c", f"open({str(source / 'secret.png')!r})").returncode == 0:
        pytest.skip("this user reads files whatever their permissions")
    (tmp_path / "recipe.yaml").write_text(recipe("flat", splits={"all": "test"}).to_json())
    arguments = ["--source", str(source), "--output", str(tmp_path / "out"), "--shards", str(tmp_path / "s")]
    arguments += ["--recipe", str(tmp_path / "recipe.yaml"), "--workers", "1"]
    ended = run_without_override("-m", "components.extract_frames", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert rejected(tmp_path / "out") == {"secret.png": "unreadable"}
    assert len(read_index(tmp_path / "out")) == GOOD
    (source / "locked").mkdir(mode=0)
    ended = run_without_override("-m", "components.extract_frames", *arguments)
    (source / "locked").chmod(0o755)
    assert ended.returncode == 1
    assert "error: cannot list" in ended.stderr
