"""Objects by URI: one small interface over S3 and over folders."""

from media.storage.base import NotFoundError, ObjectInfo, PreconditionFailedError, Store, join
from media.storage.opening import open_store

__all__ = ["NotFoundError", "ObjectInfo", "PreconditionFailedError", "Store", "join", "open_store"]
