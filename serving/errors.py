"""Why a request is not answered with 200: every such answer has a status, a short code and a sentence."""

from pydantic import BaseModel
from starlette.exceptions import HTTPException


class ErrorDocument(BaseModel):
    """The body of every answer that is not 2xx.

    ``error`` is a sentence for a person, ``reason`` a short stable code for programs.
    """

    error: str
    reason: str


class RequestError(HTTPException):
    """A request that is refused or fails.

    Args:
        status: of HTTP.
        reason: a short stable code; a label of the metric ``veriframe_rejected_total``.
        detail: a sentence for a person.
        retry_after: seconds after which another try makes sense, sent as a header.
    """

    def __init__(self, status: int, reason: str, detail: str, *, retry_after: int | None = None) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, detail, headers)
        self.reason = reason


def unsupported(detail: str) -> RequestError:
    """Refuse a medium of a kind that the bundle does not judge; ``detail`` says which it does."""
    return RequestError(415, "unsupported-media", detail)
