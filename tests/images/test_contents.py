"""What is in the images that `make images` built."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from components.images import ALL, EXTRACTOR, SERVING, SERVING_CPU, TRAINER

pytestmark = pytest.mark.docker

PROBE = Path(__file__).with_name("probe.py")
REPOSITORY = PROBE.parents[2]
STEPS = {"bundle", "components", "core", "data", "judging", "media", "tasks"}
SERVED = {"bundle", "core", "media", "serving"}
SOURCES = {
    EXTRACTOR: STEPS,
    TRAINER: STEPS | {"models"},
    SERVING: SERVED,
    SERVING_CPU: SERVED,
}
MODULES = {
    EXTRACTOR: {"av", "kfp"},
    TRAINER: {"albumentations", "av", "kfp", "onnxruntime", "torch"},
    SERVING: {"av", "fastapi", "onnxruntime", "torch"},
    SERVING_CPU: {"av", "fastapi", "onnxruntime"},
}
LARGEST_SERVING_CPU = 700e6  # bytes


@pytest.fixture(scope="module", params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    """Each image in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def configuration(name: str, engine: docker.DockerClient, image: Callable[[str], str]) -> dict[str, Any]:
    """What the image says of itself."""
    return dict(engine.images.get(image(name)).attrs["Config"])


@pytest.fixture(scope="module")
def contents(name: str, engine: docker.DockerClient, image: Callable[[str], str]) -> dict[str, Any]:
    """What a process inside finds."""
    answer = engine.containers.run(image(name), ["-c", PROBE.read_text()], entrypoint="python3", user="0", remove=True)
    return dict(json.loads(answer))


def test_packages_are_those_that_the_image_needs(name: str, contents: dict[str, Any]) -> None:
    assert set(contents["modules"]) == MODULES[name]
    assert contents["version"] == [3, 11]


def test_the_source_is_the_commit_that_the_label_names(
    name: str, contents: dict[str, Any], configuration: dict[str, Any]
) -> None:
    revision = configuration["Labels"]["org.opencontainers.image.revision"]
    listing = subprocess.run(
        ["git", "ls-tree", "-r", revision, "--", *SOURCES[name]],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    committed = {path: line.split()[2] for line, path in (entry.split("\t") for entry in listing.splitlines())}
    assert contents["sources"] == committed
    assert {path.split("/")[0] for path in committed} == SOURCES[name]


def test_nothing_of_the_build_is_left(contents: dict[str, Any]) -> None:
    assert contents["tools"] == []
    assert contents["apt"] == []
    assert contents["left"] == []


def test_the_user_is_nobody_in_particular_and_owns_nothing(
    contents: dict[str, Any], configuration: dict[str, Any]
) -> None:
    assert configuration["User"] == "65532:65532"  # a number: Kubernetes cannot tell of a name that it is not root
    assert set(contents["writable"]) <= {"/tmp", "/var/tmp", "/run/lock"}


def test_the_environment_runs_the_locked_python_first(contents: dict[str, Any]) -> None:
    assert contents["python"] == "/opt/venv/bin/python3"


def test_labels_and_revision_say_what_it_is(name: str, configuration: dict[str, Any]) -> None:
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert f"VERIFRAME_GIT_SHA={labels['org.opencontainers.image.revision']}" in configuration["Env"]


def test_steps_have_no_entry_point_and_servers_have_one(name: str, configuration: dict[str, Any]) -> None:
    # KFP gives the whole command; an entry point would take it for its arguments.
    expected = ["python3", "-m", "serving"] if name in {SERVING, SERVING_CPU} else None
    assert configuration["Entrypoint"] == expected


def test_the_server_on_onnx_stays_small(engine: docker.DockerClient, image: Callable[[str], str]) -> None:
    assert engine.images.get(image(SERVING_CPU)).attrs["Size"] < LARGEST_SERVING_CPU


def test_the_two_images_with_torch_share_its_layer(engine: docker.DockerClient, image: Callable[[str], str]) -> None:
    layers = {name: engine.images.get(image(name)).attrs["RootFS"]["Layers"] for name in ALL}

    def shared(one: str, other: str) -> int:
        return sum(a == b for a, b in zip(layers[one], layers[other], strict=False))

    # With the images beside them they have at most the base and the empty environment in common.
    assert shared(TRAINER, SERVING) > max(shared(TRAINER, EXTRACTOR), shared(SERVING, SERVING_CPU))
