import io
import os
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from components.extract_frames.soundness import require_sound_jpeg
from media.errors import BadInputError


def jpeg(**options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(data.coffee()).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 0}, {"optimize": True}])
def test_whole_files_are_sound_and_files_with_holes_are_not(options: dict[str, object]) -> None:
    whole = jpeg(**options)
    require_sound_jpeg(whole)
    require_sound_jpeg(whole + b"trailer" * 40)
    size = len(whole)
    for damaged in (
        whole[: size // 2] + b"\xff\xd9",
        whole[: size // 2] + whole[size // 2 + size // 20 :],
        whole[: size * 9 // 10] + whole[-2:],
    ):
        Image.open(io.BytesIO(damaged)).load()  # takes it without a word
        with pytest.raises(BadInputError, match="missing or overwritten") as caught:
            require_sound_jpeg(damaged)
        assert caught.value.reason == "damaged"


def test_standard_error_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    whole = jpeg()
    with pytest.raises(BadInputError):
        require_sound_jpeg(whole[: len(whole) // 2] + b"\xff\xd9")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
