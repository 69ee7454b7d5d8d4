"""The photographs of the demonstration, all free to redistribute."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from core.errors import StorageError

# Public domain or CC0, says data/README.txt of scikit-image.
NAMES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the photographs into ``folder``.

    Raises:
        StorageError: when scikit-image is not installed or lacks one.
    """
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise StorageError("scikit-image is not installed, and the demonstration's photographs lie in it: make setup")
    data = Path(found.origin).parent / "data"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [Path(shutil.copyfile(data / name, folder / name)) for name in NAMES]
    except OSError as error:
        raise StorageError(f"a photograph of scikit-image cannot be copied: {error}; make setup") from error
