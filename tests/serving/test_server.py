import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.process import ServerFailedError, ServerProcess


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_wrong_options_end_it_with_one_line_each() -> None:
    ended = run("--bundle", "x", "--port", "high")
    assert ended.returncode == 1
    assert "port = 'high'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_without_a_bundle_ends_it_with_the_reason(tmp_path: Path) -> None:
    ended = run("--bundle", str(tmp_path), "--port", "0", "--host", "127.0.0.1")
    assert ended.returncode == 1
    assert f"{tmp_path}" in ended.stderr and "no bundle.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_ends_it_with_the_reason(tiny_bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--bundle", str(tiny_bundle), "--host", "127.0.0.1", "--port", str(port))
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_a_bundle_that_takes_too_long_to_load_ends_it(tiny_bundle: Path) -> None:
    with pytest.raises(ServerFailedError, match=r"(?s)status 1.*within 0.001 s"):
        ServerProcess(tiny_bundle, load_timeout=0.001).__enter__()


def test_a_runtime_that_the_bundle_lacks_ends_it(tiny_bundle: Path) -> None:
    with pytest.raises(ServerFailedError, match="onnxruntime cannot run on 'cuda'"):
        ServerProcess(tiny_bundle, device="cuda").__enter__()


def test_it_serves_and_ends_with_status_0(tiny_bundle: Path) -> None:
    server = ServerProcess(tiny_bundle)
    with server:
        assert server.ready
        assert server.stop() == 0


def test_torchscript_is_served_too(tiny_bundle: Path) -> None:
    with ServerProcess(tiny_bundle, runtime="torchscript") as server:
        assert server.ready
