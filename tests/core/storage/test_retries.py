"""What is tried again and what is not, against a server that answers as it is told to."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import StorageError
from core.storage import NotFoundError, PreconditionFailedError
from core.storage.faults import RetryPolicy
from core.storage.s3 import S3Store
from core.storage.transfer import PARALLEL

QUICK = RetryPolicy(attempts=5, first_delay=0.001, longest_delay=0.01)


@dataclass
class Answer:
    """One answer; ``cut`` closes the connection after so many bytes of the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


def fault(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode())


@dataclass
class Script:
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def methods(self) -> list[str]:
        return [method for method, _ in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.script.requests.append((self.command, dict(self.headers)))
        answer = self.script.answers.pop(0)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """What the server says next, and what it was asked."""
    script = Script()
    handler = type("ScriptedHandler", (Handler,), {"script": script})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield script
        server.shutdown()
        thread.join()


@pytest.fixture
def store(script: Script) -> S3Store:
    return S3Store("bucket", "prefix", QUICK)


TRANSIENT = [
    (500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (503, "ServiceUnavailable"), (504, "Timeout"),
    (429, "TooManyRequests"), (409, "ConditionalRequestConflict"), (400, "RequestTimeout"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code"), TRANSIENT)
def test_a_busy_server_is_asked_again(script: Script, store: S3Store, status: int, code: str) -> None:
    script.answers += [fault(status, code), fault(status, code), Answer(200, b"data", {"ETag": '"1"'})]
    assert store.read("key") == b"data"
    assert len(script.requests) == 3


FINAL = [
    (403, "AccessDenied", StorageError), (404, "NoSuchKey", NotFoundError), (404, "NoSuchBucket", StorageError),
    (412, "PreconditionFailed", StorageError), (400, "InvalidRequest", StorageError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "kind"), FINAL)
def test_a_refusal_is_final(script: Script, store: S3Store, status: int, code: str, kind: type[StorageError]) -> None:
    script.answers += [fault(status, code), Answer(200, b"data", {"ETag": '"1"'})]
    with pytest.raises(kind):
        store.read("key")
    assert script.methods() == ["GET"]


def test_patience_ends_with_an_error_that_names_object_code_and_remedy(script: Script, store: S3Store) -> None:
    script.answers += [fault(503, "SlowDown")] * QUICK.attempts
    with pytest.raises(StorageError, match=r"s3://bucket/prefix/key \(SlowDown: as told\).*check the server's health"):
        store.read("key")
    assert len(script.requests) == QUICK.attempts


def test_every_further_attempt_is_logged(script: Script, store: S3Store, caplog: pytest.LogCaptureFixture) -> None:
    script.answers += [fault(503, "SlowDown"), Answer(200, b"data", {"ETag": '"1"'})]
    store.read("key")
    assert "cannot read s3://bucket/prefix/key yet" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("missing", ["Content-Length", "ETag", "Last-Modified"])
def test_an_answer_whose_header_broke_off_is_asked_for_again(script: Script, store: S3Store, missing: str) -> None:
    headers = {"Content-Length": "7", "ETag": '"1"', "Last-Modified": "Fri, 20 Nov 2026 11:00:00 GMT"}
    whole = Answer(200, b"1234567", headers)
    broken = Answer(200, b"1234567", {name: value for name, value in headers.items() if name != missing})
    broken.headers |= {"Content-Length": ""} if missing == "Content-Length" else {}
    script.answers += [broken, whole]
    found = store.head("key")
    assert found is not None
    assert (found.size, found.etag) == (7, "1")
    assert len(script.requests) == 2
    if missing != "Last-Modified":
        broken.headers["Connection"] = "close"  # nothing says where the body ends
        broken.cut = 3
        script.answers += [broken, whole]
        assert store.read("key") == b"1234567"


def test_reading_goes_on_where_the_connection_broke(script: Script, store: S3Store) -> None:
    data = bytes(range(200))
    script.answers += [
        Answer(200, data, {"ETag": '"1"'}, cut=150),
        Answer(206, data[150:], {"ETag": '"1"', "Content-Range": "bytes 150-199/200"}),
    ]
    with store.open("key") as stream:
        assert stream.read() == data
    assert script.requests[1][1]["Range"] == "bytes=150-"
    assert script.requests[1][1]["If-Match"] == '"1"'


def test_a_read_in_one_piece_starts_over_when_the_connection_broke(script: Script, store: S3Store) -> None:
    data = bytes(range(200))
    script.answers += [Answer(200, data, {"ETag": '"1"'}, cut=150), Answer(200, data, {"ETag": '"1"'})]
    assert store.read("key") == data


def test_a_conditional_write_whose_answer_was_lost_succeeds(script: Script, store: S3Store) -> None:
    etag = hashlib.md5(b"data").hexdigest()
    modified = {"ETag": f'"{etag}"', "Last-Modified": "Fri, 20 Nov 2026 06:00:00 GMT"}
    script.answers += [fault(500, "InternalError"), fault(412, "PreconditionFailed"), Answer(200, b"", modified)]
    assert store.write("key", b"data", if_absent=True) == etag
    assert script.methods() == ["PUT", "PUT", "HEAD"]


def test_a_conditional_write_lost_to_another_writer_fails(script: Script, store: S3Store) -> None:
    modified = {"ETag": '"another"', "Last-Modified": "Fri, 20 Nov 2026 06:00:00 GMT"}
    script.answers += [fault(500, "InternalError"), fault(412, "PreconditionFailed"), Answer(200, b"", modified)]
    with pytest.raises(PreconditionFailedError):
        store.write("key", b"data", if_absent=True)


def test_an_upload_that_the_server_forgot_is_begun_again(script: Script, store: S3Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    with source.open("r+b") as stream:
        stream.truncate(17 * 2**20)  # two parts
    begin = Answer(200, b"<R><UploadId>7</UploadId></R>")
    part = Answer(200, b"", {"ETag": '"1"'})
    script.answers += [begin, part, part, fault(404, "NoSuchUpload"), Answer(204)]  # the last: abort
    script.answers += [begin, part, part, Answer(200, b"<R><ETag>2</ETag></R>")]
    store.upload(source, "key")
    assert script.methods() == ["POST", "PUT", "PUT", "POST", "DELETE", "POST", "PUT", "PUT", "POST"]


def test_the_first_broken_part_ends_a_transfer_at_once(script: Script, store: S3Store, tmp_path: Path) -> None:
    head = {"Content-Length": str(2**40), "ETag": '"1"', "Last-Modified": "Fri, 20 Nov 2026 06:00:00 GMT"}
    script.answers += [Answer(200, b"", head), *[fault(403, "AccessDenied")] * 100]
    with pytest.raises(StorageError, match="AccessDenied"):
        store.download("key", tmp_path / "target")
    assert len(script.requests) <= 1 + 2 * PARALLEL
    assert list(tmp_path.iterdir()) == []


def test_waits_double_up_to_a_bound_and_vary() -> None:
    policy = RetryPolicy(attempts=6, first_delay=1.0, longest_delay=4.0)
    runs = [list(policy.delays()) for _ in range(50)]
    for run in runs:
        assert len(run) == 5
        assert all(whole / 2 <= delay <= whole for whole, delay in zip([1, 2, 4, 4, 4], run, strict=True))
    assert len({tuple(run) for run in runs}) > 1
