"""Where published bundles lie in a store, and which one is current.

``<root>/releases/<name>/<version>/`` holds a bundle and never changes; ``<root>/releases/<name>/current.json`` says
which version to serve. Readers start at the pointer, so a version that is still being uploaded is not seen.
"""

import hashlib
from pathlib import Path

from bundle.document import BUNDLE_FILE, Name, Sha256, Task
from bundle.reading import VerifiedBundle, parse_bundle, parse_document, read_bundle
from core.errors import MismatchError
from core.files import sha256_file, write_bytes
from core.settings import Settings
from core.storage import NotFoundError, Store, join, open_store

RELEASES = "releases"
POINTER_FILE = "current.json"


class Figures(Settings):
    """What a release was let through with: measured by the evaluation, all 0..1, None where not measured.

    Of networks that mark regions: ``f1``, the share of authentic pictures called forged, and as ``robustness`` the
    worst F1 on degraded pictures divided by the F1 on the pictures as they are. Of classifiers, over whole media:
    ``auc``, the share of manipulated media called so (``tpr``), that of authentic ones, and as ``robustness`` what the
    worst degradation leaves of the AUC above chance.
    """

    task: Task = "segmentation"
    f1: float | None = None
    auc: float | None = None
    tpr: float | None = None
    authentic_fpr: float | None = None
    robustness: float | None = None


class Pointer(Settings):
    """The content of ``current.json``; ``previous`` is the version that was current before, None for the first."""

    name: Name
    version: Name
    bundle_sha256: Sha256
    previous: Name | None = None
    figures: Figures
    evaluation_sha256: Sha256


def release_uri(root: str, name: str, version: str = "") -> str:
    """Return the URI of a release's folder, or of the folder of all versions where ``version`` is empty."""
    return join(root, RELEASES, name, version)


def read_pointer(root: str, name: str) -> tuple[Pointer, str] | None:
    """Read which version is current.

    Args:
        root: URI of the store that holds ``releases/``.
        name: of the bundle.

    Returns:
        The pointer and the etag to give to a conditional write that replaces it; None where nothing is published.

    Raises:
        SettingsError: when the pointer is not readable.
        StorageError: when the store is not.
    """
    return pointer_in(open_store(release_uri(root, name)))


def pointer_in(store: Store) -> tuple[Pointer, str] | None:
    """Read the pointer of a store that is rooted at the folder of all versions; see ``read_pointer``."""
    info = store.head(POINTER_FILE)
    if info is None:
        return None
    # The etag is taken before the content: if the pointer moves in between, the conditional write that follows fails.
    data = store.read(POINTER_FILE)
    return parse_document(Pointer, data, f"{store.uri}/{POINTER_FILE}"), info.etag


def fetch_release(root: str, name: str, folder: Path, *, version: str | None = None) -> VerifiedBundle:
    """Copy a published bundle into a folder and verify it.

    Args:
        root: URI of the store that holds ``releases/``.
        name: of the bundle.
        folder: where to put it; files that are there already and right are kept.
        version: None for the current one.

    Raises:
        MismatchError: when nothing is published, or a file is not what the pointer and ``bundle.json`` say.
        StorageError: when the store cannot be read.
    """
    expected = None
    if version is None:
        found = read_pointer(root, name)
        if found is None:
            raise MismatchError(f"{release_uri(root, name)} has no {POINTER_FILE}; publish a bundle there first")
        version, expected = found[0].version, found[0].bundle_sha256
    store = open_store(release_uri(root, name, version))
    document = _bundle_document(store, expected)
    write_bytes(folder / BUNDLE_FILE, document)
    for file in parse_bundle(document, f"{store.uri}/{BUNDLE_FILE}").all_files():
        present = folder / file.path
        if not present.is_file() or sha256_file(present) != file.sha256:
            store.download(file.path, present)
    return read_bundle(folder)


def _bundle_document(store: Store, expected: str | None) -> bytes:
    try:
        data = store.read(BUNDLE_FILE)
    except NotFoundError:
        raise MismatchError(f"{store.uri} holds no bundle: it has no {BUNDLE_FILE}") from None
    actual = hashlib.sha256(data).hexdigest()
    if expected is not None and actual != expected:
        raise MismatchError(
            f"{store.uri}/{BUNDLE_FILE} has sha256 {actual}, {POINTER_FILE} expects {expected}; it was altered"
        )
    return data
