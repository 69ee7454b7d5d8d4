import io

import pytest
from PIL import Image
from skimage import data

from core.errors import BadInputError
from media.pictures import read_picture
from media.soundness import require_sound_jpeg


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(data.coffee()).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"quality": 30, "subsampling": 0},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"mode": "L"},
        {"mode": "CMYK"},
    ],
)
def test_whole_files_are_sound_and_files_with_holes_are_not(options: dict[str, object]) -> None:
    whole = jpeg(**options)
    require_sound_jpeg(whole)
    require_sound_jpeg(whole + b"trailer" * 40)
    assert read_picture(whole).extension == "jpg"
    size = len(whole)
    for damaged in (
        whole[: size // 2] + b"\xff\xd9",
        whole[: size // 2] + whole[size // 2 + size // 20 :],
        whole[: size * 9 // 10] + whole[-2:],
    ):
        Image.open(io.BytesIO(damaged)).load()  # takes it without a word
        for check in (require_sound_jpeg, read_picture):
            with pytest.raises(BadInputError, match="missing or overwritten") as caught:
                check(damaged)
            assert caught.value.reason == "damaged"


def test_bytes_left_over_before_the_end_as_some_cameras_write_them_do_no_harm() -> None:
    whole = jpeg()
    padded = whole[:-2] + b"\x00" * 16 + whole[-2:]
    require_sound_jpeg(padded)
    assert (read_picture(padded).rgb == read_picture(whole).rgb).all()
