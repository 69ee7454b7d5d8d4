"""What an operator can set, on the command line or in the environment."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from core.settings import Settings, validate

PREFIX = "VERIFRAME_SERVING_"


class ServerSettings(Settings):
    """Every option is ``--name value`` and ``VERIFRAME_SERVING_NAME``; the command line wins."""

    bundle: str = Field(
        min_length=1,
        description="folder with bundle.json, or URI of …/releases/<name>/current.json or …/releases/<name>/<version>",
    )
    bundle_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="digest that bundle.json must have; default: any"
    )
    runtime: Literal["onnx", "torchscript"] = Field("onnx", description="what runs the networks")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:<n>")
    threads: int | None = Field(None, ge=1, description="that run the networks on the CPU; default: one a core")
    passes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="forward passes at one time, which share the threads; default: 2 on the CPU, else 1",
    )
    decoders: int = Field(2, ge=1, le=64, description="threads that decode pictures and build answers")
    video_decoders: int = Field(2, ge=1, le=64, description="threads that decode videos and find faces, a video each")
    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  (a container's only interface)
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    max_batch: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="most tiles in one forward pass; default: 1 on the CPU, where more only take longer, else 8",
    )
    batch_delay_ms: float = Field(2.0, ge=0, le=1000, description="how long an incomplete batch waits for more tiles")
    queue: int = Field(64, ge=1, description="requests accepted at the same time; more are refused with 429")
    video_queue: int = Field(16, ge=1, description="videos accepted at the same time; more are refused with 429")
    max_bytes: int = Field(
        32 * 2**20, ge=1024, description="of a request's body, or of a picture in it; more is refused with 413"
    )
    max_video_bytes: int = Field(
        256 * 2**20, ge=1024, description="of a body that may hold a video; more is refused with 413"
    )
    spool_bytes: int = Field(
        2**20, ge=1024, description="of a body that may hold a video are kept in memory; a longer one goes to a file"
    )
    open_bytes: int = Field(
        256 * 2**20, ge=1024, description="of all bodies held in memory at one time; more is refused with 429"
    )
    open_video_bytes: int = Field(
        2**30, ge=1024, description="of all bodies held in temporary files at one time; more is refused with 429"
    )
    max_pixels: int = Field(
        40_000_000, ge=1, le=178_956_970, description="of a picture, or a frame of video; more is refused with 422"
    )
    max_seconds: float = Field(600.0, gt=0, description="of a video; more is refused with 422")
    max_frames: int = Field(36_000, ge=1, description="of a video; more is refused with 422")
    frames: int = Field(
        32, ge=1, le=4096, description="of a video that are looked at, spread evenly, unless the bundle says which"
    )
    min_frames: int = Field(4, ge=1, description="of a video in which a face must be seen to be judged")
    open_pixels: int = Field(
        80_000_000, ge=1, description="of all that is decoded at one time, at about 26 bytes each; others wait"
    )
    timeout: float = Field(30.0, gt=0, description="seconds from a complete request to its answer, else 504")
    video_timeout: float = Field(120.0, gt=0, description="the same for a video")
    body_timeout: float = Field(30.0, gt=0, description="seconds for a request's body to arrive, else 408")
    drain_delay: float = Field(
        5.0, ge=0, description="seconds to accept requests after SIGTERM, when not ready already"
    )
    load_timeout: float = Field(120.0, gt=0, description="seconds to fetch, verify and warm up the bundle")
    cache: str | None = Field(None, description="folder for a fetched bundle; default: a temporary one")


def read_settings(argv: Sequence[str] | None, environment: Mapping[str, str] = os.environ) -> ServerSettings:
    """Read the command line over the environment.

    Args:
        argv: arguments without the program's name; None takes them from the process.
        environment: names and values; empty values count as not given.

    Raises:
        SettingsError: naming each wrong option, its value and what is allowed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serve a bundle over HTTP.",
        epilog=f"Every option can be given as an environment variable too: {PREFIX}BUNDLE and so on.",
    )
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" ({field.default})"
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{field.description}{default}")
    arguments = vars(parser.parse_args(argv))
    given: dict[str, Any] = {}
    for name in ServerSettings.model_fields:
        value = arguments[name] if arguments[name] is not None else environment.get(PREFIX + name.upper())
        if value:
            given[name] = value
    return validate(ServerSettings, given, f"the server's options (or {PREFIX}… variables)")
