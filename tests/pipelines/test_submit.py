"""Submission against an HTTP server that answers as the Kubeflow Pipelines v2beta1 API does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from pipelines.__main__ import main
from pipelines.submit import SubmitError, submit

RUN_ID = "0d9e2c6e-6d7f-4a52-9a3e-1f6f6a1f8f11"
EXPERIMENT_ID = "5f1b1a8e-4f4c-4b61-8b0e-0b7d1f0a2c33"


class Server(ThreadingHTTPServer):
    """Remembers what was posted; ``refuse`` answers every run with 403."""

    refuse = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posted: dict[str, list[dict[str, object]]] = {"experiments": [], "runs": []}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if "healthz" in self.path:
            return self.answer(200, {"multi_user": False, "pipeline_store": "database"})
        if "/experiments" in self.path:
            return self.answer(200, {})
        return self.answer(404, {"error": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = "runs" if "/runs" in self.path else "experiments"
        self.server.posted[kind].append(body)
        if kind == "runs" and self.server.refuse:
            return self.answer(403, {"error": "user may not create runs here"})
        ids = {"runs": {"run_id": RUN_ID}, "experiments": {"experiment_id": EXPERIMENT_ID}}
        return self.answer(200, body | ids[kind])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_a_submitted_run_carries_parameters_name_and_experiment_and_returns_its_link(server: Server) -> None:
    accepted = submit(
        "forgery",
        "forgery/published",
        "s3://pictures/set",
        "s3://veriframe",
        host=server.url,
        members=["high_recall"],
        run_name="nightly",
        experiment="newsroom",
        tag="abc123",
        overrides=["stages.v3.train.epochs=3"],
    )
    assert accepted.url == f"{server.url}/#/runs/details/{RUN_ID}"
    assert server.posted["experiments"][0]["display_name"] == "newsroom"
    run = server.posted["runs"][0]
    assert run["display_name"] == "nightly"
    assert run["experiment_id"] == EXPERIMENT_ID
    parameters = run["runtime_config"]["parameters"]  # type: ignore[index]
    assert parameters["source"] == "s3://pictures/set"
    assert [member["name"] for member in parameters["members"]] == ["high_recall"]
    assert json.loads(parameters["members"][0]["recipe_v3"])["epochs"] == 3
    assert "veriframe-trainer:abc123" in yaml.safe_dump(run["pipeline_spec"])


def test_a_refused_run_says_what_the_server_answered(server: Server) -> None:
    server.refuse = True
    with pytest.raises(SubmitError, match=r"403.*user may not create runs here"):
        submit("forgery", "forgery/published", "s3://a", "s3://b", host=server.url, tag="abc123")


def test_an_absent_server_is_a_plain_error_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        [
            "submit",
            "forgery",
            "--source",
            "s3://a/b",
            "--store",
            "s3://c",
            "--host",
            "http://127.0.0.1:9",
            "--tag",
            "x1",
        ]
    )
    assert status == 1
    assert "error: http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err


def test_a_misspelt_member_is_refused_with_a_suggestion(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["submit", "forgery", "--source", "s3://a/b", "--store", "s3://c", "--host", server.url, "--tag", "x1"]
    assert main([*command, "--members", "high_recal"]) == 1
    assert "Did you mean 'high_recall'?" in capsys.readouterr().err
    assert server.posted["runs"] == []
