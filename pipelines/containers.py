"""Running the steps of a local run in containers of the project's images."""

import builtins
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.types import Mount
from kfp import local
from kfp.local import docker_task_handler

from components.images import EXTRACTOR, TRAINER
from core.errors import VeriframeError
from pipelines.references import REGISTRY_VARIABLE, reference
from pipelines.resources import CACHE_PATH

IMAGE_USER = 65532  # of images/Dockerfile
SHARED_MEMORY = "8g"  # a limit: what PyTorch's loader processes exchange tensors through
ROOT = 0
# Variables of this process that steps get too; AWS_* besides, less those that name files of this machine.
PASSED_VARIABLES = ("NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VERIFRAME_CACHE_GIB")
FILE_VARIABLES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
CA_VARIABLE = "AWS_CA_BUNDLE"


class ContainersError(VeriframeError):
    """Steps cannot be run in containers on this machine."""


def runner(artifacts: Path, source: str, store: str, cache: Path) -> local.DockerRunner:
    """Return the runner of one run: host network, no capabilities, the caller's user, and AWS variables passed on.

    Where the caller is root, steps run as the images' own user, who is given the folders to write into.

    Args:
        artifacts: the run's folder, which KFP mounts.
        source: folder (mounted read-only) or URI of the input.
        store: folder (mounted) or URI for shards, training state and releases.
        cache: folder that keeps fetched shards from step to step.

    Raises:
        ContainersError: when no engine answers, or an image is missing and there is no registry to take it from.
    """
    _require_images()
    written = [artifacts, cache, *_folders(store)]
    for folder in written:
        folder.mkdir(parents=True, exist_ok=True)
    mounts = [Mount(CACHE_PATH, str(cache), type="bind")]
    mounts += [Mount(str(folder), str(folder), type="bind", read_only=True) for folder in _folders(source)]
    mounts += [Mount(str(folder), str(folder), type="bind") for folder in _folders(store)]
    environment = _environment(os.environ)
    if CA_VARIABLE in environment:
        mounts.append(Mount(environment[CA_VARIABLE], environment[CA_VARIABLE], type="bind", read_only=True))
    return local.DockerRunner(
        network_mode="host",
        user=_user(written),
        environment=environment,
        mounts=mounts,
        shm_size=SHARED_MEMORY,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Let KFP see the exit status of every container.

    It starts containers that remove themselves, asks for the status afterwards, and takes one that is gone for a
    success: about a third of all failures.
    """
    original = docker_task_handler.run_docker_container
    docker_task_handler.run_docker_container = _run_container
    try:
        yield
    finally:
        docker_task_handler.run_docker_container = original


def _run_container(
    client: docker.DockerClient, image: str, command: Sequence[str], volumes: Mapping[str, Any], **arguments: Any
) -> int:
    container = client.containers.run(image=image, command=command, volumes=volumes, detach=True, **arguments)
    try:
        for text in container.logs(stream=True):
            builtins.print(text.decode(errors="replace"), end="")  # noqa: T201  (KFP indents what is printed)
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def _require_images() -> None:
    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise ContainersError(f"no Docker engine answers; start dockerd, or set DOCKER_HOST: {error}") from None
    try:
        for image in map(reference, (EXTRACTOR, TRAINER)):
            client.images.get(image)
    except docker.errors.ImageNotFound:
        if not os.environ.get(REGISTRY_VARIABLE):
            raise ContainersError(f"there is no image {image}: `make images` builds those of this commit") from None
    finally:
        client.close()


def _folders(uri: str) -> list[Path]:
    """Return the folder that a URI names, or none."""
    return [] if "://" in uri and not uri.startswith("file://") else [Path(uri.removeprefix("file://")).resolve()]


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    passed = {
        name: value
        for name, value in variables.items()
        if (name.startswith("AWS_") and name not in FILE_VARIABLES) or name in PASSED_VARIABLES
    }
    return passed | {"VERIFRAME_CACHE": CACHE_PATH}


def _user(folders: Sequence[Path]) -> str:
    if os.getuid() != ROOT:
        return f"{os.getuid()}:{os.getgid()}"
    for folder in folders:
        os.chown(folder, IMAGE_USER, IMAGE_USER)
    return f"{IMAGE_USER}:{IMAGE_USER}"
