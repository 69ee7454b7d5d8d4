"""Finding a Docker client that can build the project's images."""

import os
import shutil
import subprocess

from core.errors import VeriframeError

DOCKER_VARIABLE = "DOCKER"
ENVIRONMENT = {"DOCKER_BUILDKIT": "1"}


class DockerError(VeriframeError):
    """There is no Docker client or engine that can do what is asked of it."""


def docker_client() -> str:
    """Return a Docker client with BuildKit: the one that ``DOCKER`` names, else the first of PATH or of the system.

    Clients before 23 have BuildKit inside, later ones in a plugin that a bare installation lacks.

    Raises:
        DockerError: when there is none.
    """
    given = os.environ.get(DOCKER_VARIABLE)
    candidates = [given] if given else [path for path in (shutil.which("docker"), "/usr/bin/docker") if path]
    for candidate in candidates:
        command = [candidate, "build", "--help"]
        try:
            answer = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if "--secret" in answer.stdout:  # an option that only BuildKit has
            return candidate
    tried = ", ".join(candidates) or "docker"
    raise DockerError(f"no Docker client with BuildKit (tried {tried}): install docker.io, or name one in DOCKER")


def require_engine(client: str) -> None:
    """Check that an engine answers.

    Raises:
        DockerError: with the client's own words when none does.
    """
    answer = subprocess.run([client, "version"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DockerError(f"no Docker engine answers; start dockerd, or set DOCKER_HOST: {answer.stderr.strip()}")
