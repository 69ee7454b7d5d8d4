"""Where published bundles lie in a store, and which one is current.

``<root>/releases/<name>/<version>/`` holds a bundle and never changes; ``<root>/releases/<name>/current.json`` says
which version to serve. Readers start at the pointer, so a version that is still being uploaded is not seen. What was
measured of a version lies beside it, in ``evaluations/<first 16 digits of the metrics' SHA-256>/``.
"""

import hashlib
from pathlib import Path

from bundle.document import BUNDLE_FILE, Name, Sha256
from bundle.reading import VerifiedBundle, parse_bundle, parse_document, read_bundle
from core.errors import MismatchError
from core.files import sha256_file, write_bytes
from core.settings import Settings
from core.storage import NotFoundError, Store, join, open_store

RELEASES = "releases"
POINTER_FILE = "current.json"


class Figures(Settings):
    """What a release was let through with: what its evaluation measured on the test split."""

    task: str
    """Whose gate it passed."""
    values: dict[str, float | None]
    """By name, as the task names what its releases are gated by; None where not measured."""
    dataset_sha256: Sha256
    """Of the index whose test split was read."""
    degradations: tuple[str, ...]
    """What its media also went through."""

    def comparable(self, other: "Figures") -> bool:
        """Whether both are of the same task and were measured on the same media."""
        return (self.task, self.dataset_sha256, self.degradations) == (
            other.task,
            other.dataset_sha256,
            other.degradations,
        )


class Pointer(Settings):
    """The content of ``current.json``."""

    name: Name
    """Of the bundle."""
    version: Name
    """That is current."""
    bundle_sha256: Sha256
    """Of its ``bundle.json``."""
    previous: Name | None = None
    """Version that was current before; None for the first."""
    figures: Figures
    """That let it through the gate."""
    evaluation_sha256: Sha256
    """Of the evaluation's metrics."""


def release_uri(root: str, name: str, version: str = "") -> str:
    """Return the URI of a release's folder, or of the folder of all versions where ``version`` is empty."""
    return join(root, RELEASES, name, version)


def evaluation_uri(root: str, name: str, version: str, sha256: str) -> str:
    """Return the URI of the folder of one evaluation of a release, by the SHA-256 of its metrics."""
    return join(release_uri(root, name, version), "evaluations", sha256[:16])


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
