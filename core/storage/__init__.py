"""Objects by URI: one small interface over S3 and over folders."""

from core.storage.base import NotFoundError, ObjectInfo, PreconditionFailedError, Store, join
from core.storage.opening import open_store

__all__ = ["NotFoundError", "ObjectInfo", "PreconditionFailedError", "Store", "join", "open_store"]
