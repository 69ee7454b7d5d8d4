"""From a URI to the store behind it."""

from pathlib import Path
from urllib.parse import unquote

from core.errors import SettingsError
from core.storage.base import Store


def open_store(uri: str) -> Store:
    """Open the store rooted at ``uri``; nothing is contacted yet.

    Args:
        uri: ``s3://bucket/prefix``, ``file:///absolute/folder``, or a plain path. S3's address and credentials come
            from ``AWS_ENDPOINT_URL`` (or ``AWS_ENDPOINT_URL_S3``), ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``
            and whatever else boto3 reads.

    Raises:
        SettingsError: when the scheme is unknown, or a bucket or an absolute path is missing.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if not uri:
            raise SettingsError("an empty URI names no store; give s3://bucket/prefix, file:///folder or a path")
        from core.storage.local import FileStore

        return FileStore(Path(uri))
    if scheme == "file":
        if not rest.startswith("/"):
            raise SettingsError(f"{uri!r} must hold an absolute path: file:///folder")
        from core.storage.local import FileStore

        return FileStore(Path(unquote(rest)))
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise SettingsError(f"{uri!r} names no bucket; give s3://bucket/prefix")
        from core.storage.s3 import S3Store

        return S3Store(bucket, prefix.strip("/"))
    raise SettingsError(f"{uri!r}: unknown scheme {scheme!r}; known: s3, file")
