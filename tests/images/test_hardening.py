"""Images run as a cluster runs them: read-only root, no capabilities, whatever user it chooses."""

import shutil
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from bench.bundles import write_tiny_bundle
from bench.processes import free_ports
from components.images import EXTRACTOR, SERVING, SERVING_CPU, TRAINER

pytestmark = pytest.mark.docker

HARDENED = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
STEPS = {
    EXTRACTOR: ["components.extract_frames", "components.publish"],
    TRAINER: ["components.train", "components.sweep_hard_negatives", "components.evaluate", "components.export"],
}
SECOND = 10**9  # nanoseconds, of which Docker counts intervals
START_SECONDS = 60.0


@pytest.mark.parametrize("name", STEPS)
def test_steps_and_kfps_executor_start(name: str, engine: docker.DockerClient, image: Callable[[str], str]) -> None:
    imports = "; ".join(f"import {module}.__main__" for module in STEPS[name])
    commands = f"python3 -c '{imports}' && python3 -m kfp.dsl.executor_main --help"
    # A user that the image does not know, as OpenShift gives one to each namespace.
    output = engine.containers.run(image(name), ["sh", "-ec", commands], user="123456:0", remove=True, **HARDENED)
    assert b"--executor_input" in output


@pytest.mark.parametrize("name", STEPS)
def test_the_health_check_of_a_step_imports_what_it_runs(
    name: str, engine: docker.DockerClient, image: Callable[[str], str]
) -> None:
    check = engine.images.get(image(name)).attrs["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    engine.containers.run(image(name), check[1:], remove=True, **HARDENED)
    with pytest.raises(docker.errors.ContainerError):
        engine.containers.run(image(name), check[1:], environment={"PYTHONPATH": ""}, working_dir="/", remove=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle that any user may read."""
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    folder.chmod(0o755)
    return folder


def health(container: Any) -> str:
    container.reload()
    return str(container.attrs["State"]["Health"]["Status"])


@pytest.mark.parametrize("name", [SERVING_CPU, SERVING])
def test_the_server_turns_healthy_answers_and_ends_on_sigterm(
    name: str, bundle: Path, engine: docker.DockerClient, image: Callable[[str], str]
) -> None:
    (port,) = free_ports(1)
    container = engine.containers.run(
        image(name),
        detach=True,
        network_mode="host",
        environment={"VERIFRAME_SERVING_BUNDLE": "/bundle", "VERIFRAME_SERVING_PORT": str(port)}
        | {"VERIFRAME_SERVING_DRAIN_DELAY": "0", "VERIFRAME_SERVING_THREADS": "1"},
        volumes={str(bundle): {"bind": "/bundle", "mode": "ro"}},
        healthcheck={"interval": SECOND},  # the image's own check, oftener
        **HARDENED,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while health(container) != "healthy":
            assert container.status != "exited" and time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.2)
        wait_until_ready(f"http://127.0.0.1:{port}", deadline)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            runtime = "torchscript" if name == SERVING else "onnx"
            assert f'runtime="{runtime}"' in answer.read().decode()
        container.kill(signal.SIGTERM)
        assert container.wait(timeout=30)["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True)


def wait_until_ready(url: str, deadline: float) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            assert error.code == 503 and time.monotonic() < deadline
        time.sleep(0.1)


def test_the_health_check_of_a_server_fails_where_nothing_listens(
    engine: docker.DockerClient, image: Callable[[str], str]
) -> None:
    name = image(SERVING_CPU)
    check = engine.images.get(name).attrs["Config"]["Healthcheck"]["Test"]
    (port,) = free_ports(1)
    with pytest.raises(docker.errors.ContainerError, match="not live"):
        engine.containers.run(
            name,
            check[2:],
            entrypoint=check[1],
            environment={"VERIFRAME_SERVING_PORT": str(port)},
            network_mode="host",
            remove=True,
        )


def test_a_damaged_bundle_is_not_served(
    bundle: Path, tmp_path: Path, engine: docker.DockerClient, image: Callable[[str], str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    file = next(damaged.rglob("model.onnx"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(docker.errors.ContainerError, match=file.name) as failure:
        engine.containers.run(
            image(SERVING_CPU),
            ["--bundle", "/bundle"],
            volumes={str(damaged): {"bind": "/bundle", "mode": "ro"}},
            remove=True,
            **HARDENED,
        )
    assert failure.value.exit_status == 1
