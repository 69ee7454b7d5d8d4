"""The work of one cluster of photographs: those that may be each other's donors."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from core.files import write_bytes
from media.forging.chance import derive_seed
from media.forging.forge import authentic_twin, forge, require_usable
from media.forging.settings import ForgeRequest
from media.pictures import read_picture

FORGED = "train_images/forged"
AUTHENTIC = "train_images/authentic"
MASKS = "train_masks"

Line = dict[str, Any]


@dataclass(frozen=True)
class Photo:
    """A photograph on disk and the name its forgeries carry."""

    id: str
    path: Path


@dataclass(frozen=True)
class _Loaded:
    photo: Photo
    rgb: NDArray[np.uint8]
    data: bytes
    suffix: str


def forge_cluster(photos: Sequence[Photo], output: Path, request: ForgeRequest) -> dict[str, list[Line]]:
    """Write the forgeries, masks and authentic pictures of one cluster.

    Returns:
        ``provenance``: a line a picture written; ``rejected``: a line a photograph set aside.
    """
    cv2.setNumThreads(1)  # the processes are the parallelism
    lines: list[Line] = []
    rejected: list[Line] = []
    cluster: list[_Loaded] = []
    for photo in photos:
        try:
            cluster.append(_load(photo, request))
        except BadInputError as error:
            rejected.append(_rejection(photo, error))
    for loaded in cluster:
        lines += _write_authentic(loaded, output, request)
        failures: list[BadInputError] = []
        for number in range(request.per_photo):
            try:
                lines.append(_write_forged(loaded, cluster, number, output, request))
            except BadInputError as error:
                failures.append(error)
        if failures:
            rejected.append(
                _rejection(loaded.photo, failures[0], f"{len(failures)} of {request.per_photo} forgeries: ")
            )
    return {"provenance": lines, "rejected": rejected}


def _load(photo: Photo, request: ForgeRequest) -> _Loaded:
    try:
        data = photo.path.read_bytes()
    except OSError as error:
        raise BadInputError("unreadable", f"cannot be read: {error.strerror}") from None
    picture = read_picture(data)
    require_usable(picture.rgb, request.settings)
    return _Loaded(photo, picture.rgb, data, f".{picture.extension}")


def _rejection(photo: Photo, error: BadInputError, what: str = "") -> Line:
    return {"image": photo.path.name, "reason": error.reason, "detail": what + error.detail}


def _seed(loaded: _Loaded, number: int, request: ForgeRequest) -> int:
    return derive_seed(request.seed, loaded.photo.id, number)


def _write_authentic(loaded: _Loaded, output: Path, request: ForgeRequest) -> list[Line]:
    lines = []
    own_bytes_written = False
    for number in range(request.authentic_per_photo):
        twin = authentic_twin(loaded.rgb, request.settings, _seed(loaded, number, request))
        if twin is None and own_bytes_written:
            continue  # it would be the same file again
        own_bytes_written |= twin is None
        suffix, data = (loaded.suffix, loaded.data) if twin is None else (twin.suffix, twin.data)
        name = f"{AUTHENTIC}/{loaded.photo.id}_{number}{suffix}"
        write_bytes(output / name, data)
        recipe = {"kind": "authentic"} if twin is None else twin.recipe
        lines.append({"image": name, "sources": [loaded.photo.id], "recipe": recipe})
    return lines


def _write_forged(
    loaded: _Loaded, cluster: Sequence[_Loaded], number: int, output: Path, request: ForgeRequest
) -> Line:
    seed = _seed(loaded, number, request)
    donors = [other for other in cluster if other is not loaded]
    donor = donors[derive_seed(seed, "donor") % len(donors)] if donors else None
    forged = forge(loaded.rgb, donor.rgb if donor else None, request.settings, seed)
    stem = f"{loaded.photo.id}_{number}"
    mask = io.BytesIO()
    np.save(mask, forged.mask, allow_pickle=False)
    write_bytes(output / MASKS / f"{stem}.npy", mask.getvalue())
    name = f"{FORGED}/{stem}{forged.suffix}"
    write_bytes(output / name, forged.data)
    sources = [loaded.photo.id]
    if donor and forged.recipe["kind"] == "splice":
        sources.append(donor.photo.id)
    return {"image": name, "sources": sources, "recipe": forged.recipe}
