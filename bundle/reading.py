"""Reading a bundle: nothing in it is used before the hash of every file has been checked."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.document import BUNDLE_FILE, SEAL, Bundle, BundleFile, seal
from core.errors import MismatchError, SettingsError
from core.files import CHUNK
from core.settings import S, validate
from core.storage import NotFoundError, Store, open_store


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose files were what ``bundle.json`` says when it was read; ``sha256`` is that of ``bundle.json``."""

    document: Bundle
    sha256: str
    store: Store

    def read(self, file: BundleFile) -> bytes:
        """Return a file's bytes, checked again: what is returned is what the hash says, whatever changed since.

        Raises:
            MismatchError: when size or hash differ; names the file.
        """
        data = self.store.read(file.path)
        _require(self.store, file, len(data), hashlib.sha256(data).hexdigest())
        return data


def parse_document(model: type[S], data: bytes, origin: str) -> S:
    """Read the JSON of a release pointer.

    Raises:
        SettingsError: when it is no JSON, or does not say what it must.
    """
    return validate(model, _parse_object(data, origin), origin)


def parse_bundle(data: bytes, origin: str) -> Bundle:
    """Read the JSON of a ``bundle.json``.

    Raises:
        MismatchError: when a byte of it is not as it was written.
        SettingsError: when it is no JSON, or does not say what it must; a path that leaves the bundle is named.
    """
    content = _parse_object(data, origin)
    content.pop(SEAL, None)
    try:
        intact = seal(content) == data
    except ValueError:  # NaN, which JSON does not have
        intact = False
    if not intact:
        raise MismatchError(f"{origin} was altered or damaged: its content is not what its {SEAL} says; get it again")
    return validate(Bundle, content, origin)


def _parse_object(data: bytes, origin: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{origin} is not readable as JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{origin}: expected an object, got {type(content).__name__}")
    return content


def read_bundle(source: Path | Store) -> VerifiedBundle:
    """Read ``bundle.json`` and verify size and SHA-256 of every file it names.

    Files are hashed as a stream and none is loaded: TorchScript is executable content.

    Args:
        source: the bundle's folder, or a store rooted at it.

    Raises:
        SettingsError: when ``bundle.json`` is not valid.
        MismatchError: when a file, ``bundle.json`` among them, is missing or altered; names the file.
        StorageError: when the source cannot be read.
    """
    store = open_store(str(source)) if isinstance(source, Path) else source
    origin = f"{store.uri}/{BUNDLE_FILE}"
    try:
        data = store.read(BUNDLE_FILE)
    except NotFoundError:
        raise MismatchError(f"{store.uri} is no bundle: it has no {BUNDLE_FILE}") from None
    document = parse_bundle(data, origin)
    for file in document.all_files():
        verify_file(store, file)
    return VerifiedBundle(document, hashlib.sha256(data).hexdigest(), store)


def verify_file(store: Store, file: BundleFile) -> None:
    """Check one file of a bundle by reading it as a stream.

    Raises:
        MismatchError: when it is missing, or its size or hash is not what ``bundle.json`` says.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with store.open(file.path) as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
                size += len(block)
    except NotFoundError:
        raise MismatchError(f"{store.uri}/{file.path} is missing, though {BUNDLE_FILE} lists it") from None
    _require(store, file, size, digest.hexdigest())


def _require(store: Store, file: BundleFile, size: int, sha256: str) -> None:
    if size != file.size or sha256 != file.sha256:
        raise MismatchError(
            f"{store.uri}/{file.path} is not the file that {BUNDLE_FILE} describes: it has {size} bytes and sha256 "
            f"{sha256}, expected {file.size} and {file.sha256}; fetch or export the bundle again"
        )
