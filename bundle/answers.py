"""The parts of answers that all tasks share, as the OpenAPI document shows them."""

from pydantic import BaseModel

from bundle.reading import VerifiedBundle


class BundleIdentity(BaseModel):
    """Which bundle judged: ``sha256`` is the digest of its ``bundle.json``, which holds the hash of every file."""

    name: str
    version: str
    sha256: str


def identity(bundle: VerifiedBundle) -> BundleIdentity:
    """Return which bundle it is."""
    return BundleIdentity(name=bundle.document.name, version=bundle.document.version, sha256=bundle.sha256)


class PictureFacts(BaseModel):
    """The picture as it was judged: size in px as shown (EXIF orientation applied), and the digest of the file."""

    width: int
    height: int
    sha256: str


class VideoFactsDocument(BaseModel):
    """The video as its container describes it.

    ``width`` and ``height`` are in px as shown, ``rotation`` (degrees, counter-clockwise) applied; ``duration`` is in
    seconds, ``rate`` the mean of frames a second. What the container does not say is null.
    """

    width: int
    height: int
    duration: float | None
    frames: int | None
    rate: float | None
    codec: str
    rotation: int
    sha256: str


class Timings(BaseModel):
    """Seconds. ``queue`` is everything that is none of the stages: waiting for a thread, for memory, for a batch.

    ``inference`` is the length of the forward passes that held parts of this medium, which others may have shared.
    """

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float
