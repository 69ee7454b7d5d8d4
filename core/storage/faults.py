"""Which S3 errors deserve another try, and what the others say to a person."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import StorageError
from core.storage.base import NotFoundError, PreconditionFailedError

T = TypeVar("T")

_log = logging.getLogger(__name__)

# A busy or restarting service. 409 is S3's answer to two conditional writes at the same moment.
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_TRANSIENT_CODES = frozenset(
    {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}
    | {"ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", "ConditionalRequestConflict"}
)

_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where one is used)"


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is repeated, and the waits between: doubling, half of each random.

    The defaults wait for half a minute to a minute in all, the time in which a storage server restarts.
    """

    attempts: int = 10
    first_delay: float = 0.25
    longest_delay: float = 15.0

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each further attempt."""
        for attempt in range(self.attempts - 1):
            whole = min(self.first_delay * 2**attempt, self.longest_delay)
            yield whole * random.uniform(0.5, 1.0)


class Stopped(Exception):  # noqa: N818  (a signal between threads, never shown)
    """Another part of the same transfer failed: this one gives up."""


class UploadLostError(StorageError):
    """The server does not know a multipart upload (any more): it was lost, or completed and the answer was lost."""


class Attempts:
    """Counts the failures of one request; ``failed`` waits before the next attempt or raises what a person reads.

    Attributes:
        uri: of the object or prefix.
        failures: since the last progress.
    """

    def __init__(self, policy: RetryPolicy, uri: str, action: str, stop: threading.Event | None = None) -> None:
        self._policy = policy
        self.uri = uri
        self._action = action
        self._stop = stop or threading.Event()
        self.progressed()

    def progressed(self) -> None:
        """Start counting anew, since something was transferred meanwhile."""
        self._delays = self._policy.delays()
        self.failures = 0

    def check(self) -> None:
        """Raise ``Stopped`` when the transfer was called off."""
        if self._stop.is_set():
            raise Stopped

    def failed(self, error: Exception) -> None:
        """Wait as long as is due after ``error``.

        Raises:
            StorageError: when the error deserves no other attempt, or there were enough.
        """
        self.failures += 1
        delay = next(self._delays, None) if is_transient(error) else None
        if delay is None:
            raise translated(error, self.uri, self._action) from error
        _log.warning(
            "cannot %s %s yet (%s); trying again in %.1f s (%d of %d)",
            self._action, self.uri, _brief(error), delay, self.failures, self._policy.attempts - 1,
        )  # fmt: skip
        if self._stop.wait(delay):
            raise Stopped


def retrying(call: Callable[[], T], attempts: Attempts) -> T:
    """Return what ``call`` returns, called again after errors that deserve it."""
    while True:
        attempts.check()
        try:
            return call()
        except Exception as error:
            attempts.failed(error)


def whole(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an answer about an object that has length, etag and what else is named.

    Raises:
        ConnectionError: when one is missing: where a connection breaks inside a header, the HTTP client takes what has
            come for all of it.
    """
    if missing := {"ContentLength", "ETag", *names} - answer.keys():
        raise ConnectionError(f"the answer broke off before its {', '.join(sorted(missing))}")
    return answer


def _response(error: Exception) -> tuple[str, int, str] | None:
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    problem = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(problem.get("Code", "")), int(status), str(problem.get("Message", ""))


def error_code(error: Exception) -> str:
    """Return the S3 code (or the bare HTTP status, all that a HEAD request gets) of a client error, or ''."""
    response = _response(error)
    return response[0] if response else ""


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    response = _response(error)
    if response:
        code, status, _ = response
        return status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES
    from botocore import exceptions as aws
    from urllib3.exceptions import HTTPError

    connection = (aws.HTTPClientError, aws.ConnectionError, aws.ResponseStreamingError, aws.IncompleteReadError)
    if isinstance(error, (aws.SSLError, aws.InvalidProxiesConfigError)):
        return False
    return isinstance(error, (*connection, HTTPError, ConnectionError, TimeoutError))


def translated(error: Exception, uri: str, action: str) -> Exception:
    """Turn what boto3 raised into an error for a person, which names the URI, the code and what to do.

    Args:
        error: from boto3, urllib3 or a socket; an error of this project is returned as it is.
        uri: of the object or prefix.
        action: such as ``read``.
    """
    if isinstance(error, (StorageError, Stopped)):
        return error
    response = _response(error)
    if response is None:
        return _local_error(error, uri, action)
    code, status, message = response
    what = f"cannot {action} {uri} ({code}: {message})" if message else f"cannot {action} {uri} ({code})"
    if code == "NoSuchBucket":
        return StorageError(f"{what}; create the bucket, or check its name and AWS_ENDPOINT_URL")
    if code in ("PreconditionFailed", "412") or status == 412:
        return PreconditionFailedError(f"{what}: the object is not the one that was expected")
    if code == "NoSuchUpload":
        return UploadLostError(f"{what}; something aborts unfinished uploads: check the bucket's lifecycle rules")
    if code in ("NoSuchKey", "404") or status == 404:
        return NotFoundError(f"{uri} does not exist ({code})")
    if status in (401, 403):
        return StorageError(f"{what}; check {_CREDENTIALS}, and that they may {action} this")
    if is_transient(error):
        return StorageError(f"{what}, however often it was tried; check the server's health")
    return StorageError(what)


def _local_error(error: Exception, uri: str, action: str) -> Exception:
    from botocore import exceptions as aws

    if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError)):
        return StorageError(f"cannot {action} {uri}: no S3 credentials were found; set {_CREDENTIALS}")
    if is_transient(error):
        return StorageError(
            f"cannot {action} {uri}: {_brief(error)}; check AWS_ENDPOINT_URL and that the server can be reached"
        )
    if isinstance(error, (aws.BotoCoreError, ValueError)):
        return StorageError(f"cannot {action} {uri}: {error}; check AWS_ENDPOINT_URL and the AWS configuration")
    return error


def _brief(error: Exception) -> str:
    # One line, as log readers expect; boto3's messages name endpoints and codes, never secrets.
    return " ".join(str(error).split()) or type(error).__name__
