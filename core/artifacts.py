"""Results of steps kept in a store under an address that says what is in them: what later steps fetch by that address.

KFP hands artifacts from one task to the next, but can make no list of what several tasks put out. A list of addresses
is a string.
"""

import hashlib
import json
from pathlib import Path

from core.errors import MismatchError, SettingsError
from core.files import sha256_file
from core.storage import join, open_store

MANIFEST = "manifest.json"  # file names and their hashes; written last, so that where it is, the rest is
SEPARATOR = ","  # between the addresses of a list


def keep(folder: Path, place: str) -> str:
    """Copy the files of a folder into a store, unless they are there.

    Sub-folders and hidden files are left out: they hold what is not finished.

    Args:
        folder: its files are kept.
        place: URI under which ``<digest>/`` is made.

    Returns:
        The address: ``place`` and a digest of all names and contents.

    Raises:
        SettingsError: when the place holds a comma, which lists of addresses are separated by.
        StorageError: when the store cannot be written.
    """
    if SEPARATOR in place:
        raise SettingsError(f"{place}: the address of a store must hold no {SEPARATOR!r}")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    manifest = json.dumps({path.name: sha256_file(path) for path in files}, sort_keys=True)
    address = join(place, _digest(manifest))
    store = open_store(address)
    if store.head(MANIFEST) is None:
        for path in files:
            store.upload(path, path.name)
        store.write(MANIFEST, manifest.encode())
    return address


def fetch(address: str, folder: Path) -> Path:
    """Copy what was kept into a folder of its own below ``folder`` and return that.

    Raises:
        NotFoundError: when nothing is kept at the address.
        MismatchError: when a file is not what its hash says, or the list of hashes not what the address says.
        StorageError: when the store cannot be read.
    """
    store, digest = open_store(address), address.rpartition("/")[2]
    target = folder / digest
    manifest = store.read(MANIFEST).decode()
    if _digest(manifest) != digest:
        raise MismatchError(f"{address}/{MANIFEST} was changed after it was kept; run the step again that made it")
    for name, sha256 in json.loads(manifest).items():
        store.download(name, target / name)
        if sha256_file(target / name) != sha256:
            raise MismatchError(f"{address}/{name} is not what its sha256 {sha256} says; run the step again")
    return target


def fetch_all(addresses: str, folder: Path) -> list[Path]:
    """Fetch each of a list of addresses, in order; an empty list is an empty string."""
    return [fetch(address, folder) for address in addresses.split(SEPARATOR) if address]


def _digest(manifest: str) -> str:
    return hashlib.sha256(manifest.encode()).hexdigest()[:16]
