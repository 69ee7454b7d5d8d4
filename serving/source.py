"""Where the bundle comes from: a folder, a release, or the pointer to the current release."""

import re
from pathlib import Path

from bundle import VerifiedBundle, fetch_release, read_bundle
from bundle.releases import POINTER_FILE, RELEASES
from core.errors import SettingsError

_RELEASE = re.compile(rf"(?P<root>.+)/{RELEASES}/(?P<name>[^/]+)/(?P<version>[^/]+?)/?")


def fetch_bundle(uri: str, folder: Path) -> VerifiedBundle:
    """Verify a bundle where it lies, or bring a release here and verify it.

    Args:
        uri: a folder with ``bundle.json``; or ``<root>/releases/<name>/current.json`` for the release that is current
            now, or ``<root>/releases/<name>/<version>``, where the root is ``s3://…``, ``file://…`` or a path.
        folder: where a release is put; files that are there already and right are kept.

    Raises:
        SettingsError: when the URI has neither form.
        MismatchError: when a file is missing or altered, or nothing is published; names the file.
        StorageError: when the store cannot be read, after the retries of ``core.storage``.
    """
    release = _RELEASE.fullmatch(uri)
    pointer = release is not None and release["version"] == POINTER_FILE
    if "://" not in uri and not pointer:
        return read_bundle(Path(uri))
    if release is None:
        raise SettingsError(
            f"bundle {uri!r}: a release is given as …/{RELEASES}/<name>/{POINTER_FILE} or …/{RELEASES}/<name>/<version>"
        )
    version = None if pointer else release["version"]
    # A folder of its own for each name: what another bundle left behind is never mixed in.
    return fetch_release(release["root"], release["name"], folder / release["name"], version=version)
