"""``python -m images.build``: build every image, or those named, from the commit that their tag names."""

import argparse
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from components import images as names
from core.cli import run as run_command_line
from core.errors import SettingsError
from images.client import ENVIRONMENT, DockerError, docker_client, require_engine
from pipelines.references import build_tag, reference

REPOSITORY = Path(__file__).resolve().parent.parent
BASE_IMAGE = "veriframe-base:bookworm"
PREFIX = "veriframe-"
CONTEXT = (
    *("bundle", "components", "core", "data", "images", "judging"),
    *("media", "models", "requirements", "serving", "tasks"),
)


@dataclass(frozen=True)
class BuildSettings:
    """How to build.

    Attributes:
        base_image: a Debian bookworm with ``python3`` 3.11; the default is made here where it is missing.
        registry: host and path before the images' names; None reads ``VERIFRAME_REGISTRY``.
        network: of the build; ``host`` reaches what this machine reaches.
        ca_bundle: certificates for pip, or None.
        pip_configuration: a ``pip.conf`` (index, mirror, credentials), or None.
    """

    base_image: str = BASE_IMAGE
    registry: str | None = None
    network: str = "host"
    ca_bundle: Path | None = None
    pip_configuration: Path | None = None

    def __post_init__(self) -> None:
        for file in (self.ca_bundle, self.pip_configuration):
            if file is not None and not file.is_file():
                raise SettingsError(f"{file} is not a file")


@dataclass(frozen=True)
class Source:
    """A commit, laid out as the context of a build.

    Attributes:
        folder: its files.
        revision: its full id.
        tag: of the images built from it.
    """

    folder: Path
    revision: str
    tag: str


@contextmanager
def committed_source() -> Iterator[Source]:
    """Lay out the checked-out commit in a temporary folder: what is not committed is in no image.

    Raises:
        SettingsError: when the tag is a digest, which a build cannot choose.
    """
    tag = build_tag()
    if tag.startswith("sha256:"):
        raise SettingsError(f"an image is built under a tag, not under a digest ({tag})")
    revision = _git("rev-parse", "HEAD").decode().strip()
    with TemporaryDirectory(prefix="veriframe-source-") as folder:
        with tarfile.open(fileobj=BytesIO(_git("archive", revision, ".dockerignore", *CONTEXT))) as archive:
            archive.extractall(folder, filter="data")
        yield Source(Path(folder), revision, tag)


def build(image: str, source: Source, settings: BuildSettings) -> str:
    """Build an image and return its reference.

    Args:
        image: a name from ``components.images``.
        source: of ``committed_source``.
        settings: how to build.

    Raises:
        DockerError: when there is no engine, or the build fails; the message has the end of its output.
    """
    client = docker_client()
    require_engine(client)
    _ensure_base(client, settings.base_image)
    name = reference(image, settings.registry, source.tag)
    command = [client, "build", "--file", f"{source.folder}/images/Dockerfile", "--tag", name, "--progress", "plain"]
    command += ["--target", image.removeprefix(PREFIX), "--network", settings.network]
    command += ["--build-arg", f"BASE_IMAGE={settings.base_image}", "--build-arg", f"GIT_SHA={source.revision}"]
    for secret, file in {"ca": settings.ca_bundle, "pip": settings.pip_configuration}.items():
        command += ["--secret", f"id={secret},src={file.resolve()}"] if file else []
    _run([*command, str(source.folder)])
    return name


def _ensure_base(client: str, base_image: str) -> None:
    if base_image != BASE_IMAGE:  # a registry's; the engine fetches it
        return
    if subprocess.run([client, "image", "inspect", base_image], capture_output=True, check=False).returncode:
        script = Path(__file__).with_name("base.sh")
        if subprocess.run([script, base_image], env=os.environ | {"DOCKER": client}, check=False).returncode:
            raise DockerError(f"cannot make the base image {base_image}; give another that exists as BASE_IMAGE")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout


def _run(command: Sequence[str]) -> None:
    # BuildKit says a line for every package it unpacks; only what failed is worth that.
    with TemporaryFile() as log:
        finished = subprocess.run(command, env=os.environ | ENVIRONMENT, stdout=log, stderr=log, check=False)
        if finished.returncode:
            log.seek(0)
            end = "\n".join(log.read().decode(errors="replace").splitlines()[-40:])
            raise DockerError(f"the build failed:\n{end}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images.build", description="Build the container images.")
    parser.add_argument("image", nargs="*", metavar="IMAGE", help=f"some of {', '.join(names.ALL)}; all when left out")
    parser.add_argument("--base-image", default=BASE_IMAGE, help="Debian bookworm with python3.11 (%(default)s)")
    parser.add_argument("--registry", help="host and path before the images' names (VERIFRAME_REGISTRY)")
    parser.add_argument("--network", default="host", help="of the build (%(default)s)")
    parser.add_argument("--ca-bundle", type=Path, help="certificates for pip, as a build secret")
    parser.add_argument("--pip-config", type=Path, help="a pip.conf, as a build secret")
    parser.add_argument("--push", action="store_true", help="push what was built")
    return parser


def _dispatch(argv: Sequence[str] | None) -> None:
    arguments = _parser().parse_args(argv)
    if unknown := set(arguments.image) - set(names.ALL):
        raise SettingsError(f"no image is called {', '.join(sorted(unknown))}; there are {', '.join(names.ALL)}")
    settings = BuildSettings(
        base_image=arguments.base_image,
        registry=arguments.registry,
        network=arguments.network,
        ca_bundle=arguments.ca_bundle,
        pip_configuration=arguments.pip_config,
    )
    if changed := _git("status", "--porcelain", "--", *CONTEXT).decode().splitlines():
        sys.stderr.write(f"warning: {len(changed)} uncommitted changes are not in the images\n")
    with committed_source() as source:
        for image in arguments.image or names.ALL:
            began = time.monotonic()
            name = build(image, source, settings)
            print(f"{name}  {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
            if arguments.push:
                _run([docker_client(), "push", name])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return run_command_line(_dispatch, argv)


if __name__ == "__main__":
    sys.exit(main())
