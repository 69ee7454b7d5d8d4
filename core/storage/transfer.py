"""Files to S3 and back, in parts that travel side by side."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from core.errors import StorageError
from core.files import CHUNK, atomic_write
from core.progress import Counter, counter
from core.storage.base import NotFoundError, ObjectInfo
from core.storage.faults import Attempts, Stopped, UploadLostError, retrying
from core.storage.ranges import RangeStream

T = TypeVar("T")

PART_BYTES = 16 * 2**20  # smaller objects travel in one request
PARALLEL = 8  # parts under way at a time; PARALLEL × PART_BYTES bounds the memory of an upload
MAX_PARTS = 10_000  # S3's limit
_UPLOAD_ATTEMPTS = 3  # of a whole upload, when a restarted server has forgotten it


class PartStore(Protocol):
    """What a store offers to have files travel in parts; ``core.storage.s3.S3Store`` describes each."""

    @property
    def uri(self) -> str:
        """The root."""

    @property
    def client(self) -> Any:
        """The boto3 client."""

    def target(self, key: str) -> dict[str, str]:
        """Return the bucket and key arguments of a boto3 call."""

    def attempts(self, key: str, action: str, stop: threading.Event | None = None) -> Attempts:
        """Return the count of attempts for one request."""

    def call(self, action: str, key: str, request: Callable[[], T]) -> T:
        """Return what ``request`` returns, tried again where that may help."""

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""

    def write(self, key: str, data: bytes) -> str:
        """Write an object as a whole."""

    def stream(
        self, key: str, start: int, stop: int | None, etag: str | None, cancelled: threading.Event | None
    ) -> RangeStream:
        """Return the bytes from ``start`` to ``stop``."""


def parts(size: int, part_bytes: int = PART_BYTES) -> list[tuple[int, int]]:
    """Cut ``size`` bytes into (offset, length) pieces: at most ``MAX_PARTS``, all but the last equally long."""
    length = max(part_bytes, -(-size // MAX_PARTS))
    return [(offset, min(length, size - offset)) for offset in range(0, size, length)]


def upload(store: PartStore, path: Path, key: str, progress: bool = False) -> None:
    """See ``Store.upload``."""
    try:
        with path.open("rb") as source:
            for attempt in range(1, _UPLOAD_ATTEMPTS + 1):
                try:
                    _upload_once(store, source, path, key, progress)
                    break
                except UploadLostError:
                    if attempt == _UPLOAD_ATTEMPTS:
                        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error


def _upload_once(store: PartStore, source: BinaryIO, path: Path, key: str, progress: bool) -> None:
    size = os.fstat(source.fileno()).st_size
    with counter(size, unit="B", label=f"upload {path.name}", quiet=not progress) as count:
        if size <= PART_BYTES:
            store.write(key, _slice(source, path, 0, size))
            count.update(size)
        else:
            _upload_parts(store, source, path, key, count)


def _upload_parts(store: PartStore, source: BinaryIO, path: Path, key: str, count: Counter) -> None:
    target = store.target(key)
    size = os.fstat(source.fileno()).st_size
    upload_id = store.call("write", key, lambda: store.client.create_multipart_upload(**target))["UploadId"]

    def send(number: int, offset: int, length: int, stop: threading.Event) -> dict[str, Any]:
        data = _slice(source, path, offset, length)
        answer = retrying(
            lambda: store.client.upload_part(**target, UploadId=upload_id, PartNumber=number, Body=data),
            store.attempts(key, "write", stop),
        )
        count.update(length)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        done = run_parallel(
            lambda stop, piece: send(piece[0], piece[1][0], piece[1][1], stop), enumerate(parts(size), start=1)
        )
        store.call(
            "write",
            key,
            lambda: store.client.complete_multipart_upload(
                **target, UploadId=upload_id, MultipartUpload={"Parts": done}
            ),
        )
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            store.client.abort_multipart_upload(**target, UploadId=upload_id)
        raise


def _slice(source: BinaryIO, path: Path, offset: int, length: int) -> bytes:
    data = os.pread(source.fileno(), length, offset)
    while len(data) < length:
        more = os.pread(source.fileno(), length - len(data), offset + len(data))
        if not more:
            raise StorageError(f"{path} became shorter while it was uploaded; start again")
        data += more
    return data


def download(store: PartStore, key: str, path: Path, progress: bool = False) -> None:
    """See ``Store.download``."""
    info = store.head(key)
    if info is None:
        raise NotFoundError(f"{store.uri}/{key} does not exist")
    etag = f'"{info.etag}"'
    with (
        counter(info.size, unit="B", label=f"download {path.name}", quiet=not progress) as count,
        atomic_write(path) as target,
    ):
        descriptor = target.fileno()

        def fetch(stop: threading.Event, piece: tuple[int, int]) -> None:
            offset, length = piece
            with store.stream(key, offset, offset + length, etag, stop) as stream:
                _drain(stream, f"{store.uri}/{key}", descriptor, offset, length, count)

        run_parallel(fetch, parts(info.size))


def _drain(stream: RangeStream, name: str, descriptor: int, offset: int, length: int, count: Counter) -> None:
    buffer = memoryview(bytearray(min(CHUNK, length)))
    end = offset + length
    while offset < end:
        read = stream.readinto(buffer)
        if not read:
            raise StorageError(f"{name} became shorter while it was read; start again")
        block = buffer[:read]
        while block:
            written = os.pwrite(descriptor, block, offset)
            offset += written
            block = block[written:]
        count.update(read)


def run_parallel(work: Callable[[threading.Event, Any], Any], items: Iterable[Any]) -> list[Any]:
    """Return ``work(stop, item)`` of all items in order, ``PARALLEL`` at a time.

    The first error sets ``stop``, so that the other threads give up at once, and is raised.
    """
    stop = threading.Event()

    def guarded(item: Any) -> Any:
        if stop.is_set():
            raise Stopped
        try:
            return work(stop, item)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="transfer") as pool:
        futures: list[Future[Any]] = [pool.submit(guarded, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # also on an interrupt, which reaches this thread alone
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, Stopped):
            raise error
    return [future.result() for future in futures]
