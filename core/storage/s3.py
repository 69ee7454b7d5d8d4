"""An S3 bucket (or a prefix in one) as a store, over boto3."""

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from core.files import CHUNK
from core.storage import transfer
from core.storage.base import NotFoundError, ObjectInfo, PreconditionFailedError, check_key
from core.storage.faults import Attempts, RetryPolicy, retrying, translated, whole
from core.storage.ranges import RangeStream

T = TypeVar("T")

CONNECTIONS = 32  # at most kept open; threads of several transfers share one client
_REGION = "us-east-1"  # what S3-compatible servers take where none is named


def _client() -> Any:
    """Build a boto3 client from the usual AWS variables and files; retries are ours, since boto3's leave out bodies."""
    import boto3
    from botocore.config import Config

    own_endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    session = boto3.session.Session()
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        # Checksum trailers are unknown to many S3-compatible servers; over plain HTTP the signature covers the body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A bucket as a host name does not resolve where the endpoint is a service in a cluster.
        s3={"addressing_style": "path" if own_endpoint else "auto"},
    )
    return session.client("s3", region_name=session.region_name or _REGION, config=config)


class S3Store:
    """Objects under ``s3://bucket/prefix``; the client is made on first use, once a process."""

    def __init__(self, bucket: str, prefix: str = "", retry: RetryPolicy | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry or RetryPolicy()
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._boto: tuple[int, Any] | None = None
        self._bucket_seen = False

    def __getstate__(self) -> dict[str, Any]:
        return {"_bucket": self._bucket, "_prefix": self._prefix, "_retry": self._retry}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @property
    def uri(self) -> str:
        """The root, ``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def client(self) -> Any:
        """The boto3 client of this process: sockets must not be shared with a parent."""
        with self._lock:
            boto = self._boto
            if boto is None or boto[0] != os.getpid():
                try:
                    boto = self._boto = (os.getpid(), _client())
                except Exception as error:
                    raise translated(error, self.uri, "open") from error
        return boto[1]

    def target(self, key: str) -> dict[str, str]:
        """Return the bucket and key arguments of a boto3 call."""
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(self.uri, key)}

    def attempts(self, key: str, action: str, stop: threading.Event | None = None) -> Attempts:
        """Return the count of attempts for one request."""
        return Attempts(self._retry, f"s3://{self._bucket}/{self._prefix}{key}", action, stop)

    def call(self, action: str, key: str, request: Callable[[], T]) -> T:
        """Return what ``request`` returns, tried again where that may help."""
        return retrying(request, self.attempts(key, action))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See ``Store.list``; a page of 1,000 objects is held in memory at a time."""
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        while True:
            page = self.call("list", prefix, lambda: self.client.list_objects_v2(**arguments))
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # the empty object with which consoles show a folder
                    yield _info(entry["Key"][len(self._prefix) :], entry["Size"], entry)
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def head(self, key: str) -> ObjectInfo | None:
        """See ``Store.head``."""
        target = self.target(key)
        try:
            answer = self.call("look at", key, lambda: whole(self.client.head_object(**target), "LastModified"))
        except NotFoundError:
            self._require_bucket()
            return None
        return _info(key, answer["ContentLength"], answer)

    def _require_bucket(self) -> None:
        # The answer to HEAD has no body: a missing object and a missing bucket look the same.
        if not self._bucket_seen:
            self.call("list", "", lambda: self.client.list_objects_v2(Bucket=self._bucket, MaxKeys=1))
            self._bucket_seen = True

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        """See ``Store.read``."""
        if size == 0:
            return b""
        with self.stream(key, offset, None if size is None else offset + size) as stream:
            return stream.read_rest()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See ``Store.open``."""
        with io.BufferedReader(self.stream(key), CHUNK) as stream:
            stream.peek(1)  # a missing object is an error here, not at the first read
            yield cast(BinaryIO, stream)

    def stream(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        etag: str | None = None,
        cancelled: threading.Event | None = None,
    ) -> RangeStream:
        """Return the bytes from ``start`` to ``stop`` as an unbuffered stream.

        Args:
            key: of the object.
            start: first byte.
            stop: behind the last byte; None for the object's end.
            etag: the version to read, in its quotes.
            cancelled: set by another thread, makes the next read raise ``Stopped``.
        """
        target = self.target(key)

        def get(first: int, last: int | None, version: str | None) -> dict[str, Any]:
            arguments = dict(target)
            if first or last is not None:
                arguments["Range"] = f"bytes={first}-" if last is None else f"bytes={first}-{last - 1}"
            if version:
                arguments["IfMatch"] = version
            return whole(cast(dict[str, Any], self.client.get_object(**arguments)))

        return RangeStream(get, self.attempts(key, "read", cancelled), start, stop, etag)

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``Store.write``."""
        target = self.target(key)
        condition = {"IfNoneMatch": "*"} if if_absent else {} if if_match is None else {"IfMatch": f'"{if_match}"'}
        attempts = self.attempts(key, "write")
        try:
            answer = retrying(lambda: self.client.put_object(**target, **condition, Body=data), attempts)
        except NotFoundError as error:
            if if_match is None:
                raise
            raise PreconditionFailedError(f"{error}: it was to be version {if_match}") from error
        except PreconditionFailedError:
            # The answer to an earlier attempt may have been lost after it was carried out.
            present = self.head(key) if attempts.failures > 1 else None
            if present is None or present.etag != hashlib.md5(data, usedforsecurity=False).hexdigest():
                raise
            return present.etag
        return _etag(answer)

    def upload(self, path: Path, key: str, *, progress: bool = False) -> None:
        """See ``Store.upload``."""
        transfer.upload(self, path, key, progress)

    def download(self, key: str, path: Path, *, progress: bool = False) -> None:
        """See ``Store.download``."""
        transfer.download(self, key, path, progress)

    def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        target = self.target(key)
        self.call("delete", key, lambda: self.client.delete_object(**target))


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _info(key: str, size: int, answer: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(key, int(size), _etag(answer), answer["LastModified"].timestamp())
