"""Reading a request's body within its limits of bytes and time, while it arrives."""

import asyncio
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from bundle.analyzers import Category, RequestError

FIELD = "file"
NO_SPACE_RETRY = 30  # seconds
IN_MEMORY = sys.maxsize  # as a number of bytes above which something goes to a file: it never does


def most_bytes(headers: Headers, limit: int) -> int:
    """Return how many bytes a body has, as its header says, or may have where it says nothing.

    Raises:
        RequestError: too large when it says more than ``limit``; malformed when it says nonsense.
    """
    declared = headers.get("content-length")
    if declared is None:
        return limit
    if not (declared.isascii() and declared.isdigit()):
        raise RequestError(Category.MALFORMED, "bad-request", "Content-Length is not a number")
    if int(declared) > limit:
        raise too_large(limit)
    return int(declared)


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Read the whole body; see ``stream_body``."""
    return b"".join([part async for part in stream_body(request, limit, seconds)])


async def stream_body(request: Request, limit: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the body's parts as they come.

    Raises:
        RequestError: too large as soon as there are more than ``limit`` bytes, slow when the end has not come after
            ``seconds``, abandoned when the client goes away.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    received = 0
    parts = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                part = await anext(parts, None)
        except TimeoutError:
            raise RequestError(Category.SLOW, "slow-body", f"the body did not arrive within {seconds:g} s") from None
        except ClientDisconnect:
            raise RequestError(Category.ABANDONED, "client-gone", "the client closed the connection") from None
        if part is None:
            return
        received += len(part)
        if received > limit:
            raise too_large(limit)
        yield part


@asynccontextmanager
async def receive_file(
    request: Request, limit: int, seconds: float, spool_bytes: int = IN_MEMORY
) -> AsyncIterator[BinaryIO]:
    """Give the content of the multipart field ``file``, at its start, and drop it at the end.

    Args:
        request: whose body is read.
        limit: most bytes of the body.
        seconds: for the body to arrive.
        spool_bytes: a longer content goes to a temporary file, which nobody else can open.

    Raises:
        RequestError: malformed when the body is no multipart form; unusable when the field is missing, is no file, or
            other files come with it; unavailable when there is no room for a temporary file; and as ``stream_body``.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestError(
            Category.MALFORMED, "bad-request", f"send multipart/form-data with the medium in the field {FIELD!r}"
        )
    try:
        parser = MultiPartParser(request.headers, stream_body(request, limit, seconds), max_files=1, max_fields=16)
        parser.spool_max_size = spool_bytes
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(Category.MALFORMED, "bad-request", f"the form cannot be read: {error.message}") from None
    except (KeyError, UnicodeDecodeError, ValueError) as error:
        # Starlette looks for the boundary and decodes names without a check of its own.
        raise RequestError(Category.MALFORMED, "bad-request", f"the form cannot be read: {error!r}") from None
    except OSError as error:
        raise RequestError(
            Category.UNAVAILABLE,
            "no-space",
            f"the server has no room for this body: {error.strerror}",
            retry_after=NO_SPACE_RETRY,
        ) from None
    upload = form.get(FIELD)
    try:
        if not isinstance(upload, UploadFile):
            raise RequestError(Category.UNUSABLE, "missing-file", f"the form has no file in its field {FIELD!r}")
        in_memory = (upload.size or 0) <= spool_bytes
        yield io.BytesIO(upload.file.read()) if in_memory else upload.file
    finally:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                value.file.close()


def too_large(limit: int, what: str = "the body") -> RequestError:
    """Refuse what has too many bytes."""
    return RequestError(Category.TOO_LARGE, "too-many-bytes", f"{what} has more than {limit:,} bytes")
