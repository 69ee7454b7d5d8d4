"""Why a request is not answered with 200: every such answer has a status, a short code and a sentence."""

from http import HTTPStatus

from pydantic import BaseModel

from bundle.analyzers import Category, RequestError

CLIENT_CLOSED = 499  # nginx's code for a client that went away before its answer
STATUSES: dict[Category, int] = {
    Category.MALFORMED: HTTPStatus.BAD_REQUEST,
    Category.UNKNOWN: HTTPStatus.NOT_FOUND,
    Category.SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Category.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Category.UNSUPPORTED: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Category.UNUSABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Category.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    Category.ABANDONED: CLIENT_CLOSED,
    Category.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Category.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Category.LATE: HTTPStatus.GATEWAY_TIMEOUT,
}


class ErrorDocument(BaseModel):
    """The body of every answer that is not 2xx.

    ``error`` is a sentence for a person, ``reason`` a short stable code for programs.
    """

    error: str
    reason: str


def status_of(error: RequestError) -> int:
    """Return the status of HTTP."""
    return int(STATUSES[error.category])


def headers_of(error: RequestError) -> dict[str, str] | None:
    """Return the headers that say more, None for none."""
    return None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
