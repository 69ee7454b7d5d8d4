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

    bundle: str = Field(min_length=1)
    """folder with bundle.json, or URI of …/releases/<name>/current.json or …/releases/<name>/<version>"""
    bundle_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """digest that bundle.json must have; default: any"""
    runtime: Literal["onnx", "torchscript"] = "onnx"
    """what runs the networks"""
    precision: Literal["fp32", "int8"] = "fp32"
    """int8 (runtime onnx, device cpu) runs the networks that the bundle holds in INT8, and the others in fp32"""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """cpu, cuda or cuda:<n>"""
    threads: int | None = Field(default=None, ge=1)
    """that run the networks on the CPU; default: one a processor"""
    passes: int | None = Field(default=None, ge=1, le=64)
    """forward passes at one time, which share the threads; default: 2 on the CPU, else 1"""
    decoders: int = Field(default=2, ge=1, le=64)
    """threads that decode pictures and build answers"""
    video_decoders: int = Field(default=2, ge=1, le=64)
    """threads that decode videos and find faces, a video each"""
    host: str = "0.0.0.0"  # noqa: S104  (a container's only interface)
    """address to listen on"""
    port: int = Field(default=8080, ge=0, le=65535)
    """port to listen on; 0 takes a free one"""
    max_batch: int | None = Field(default=None, ge=1, le=1024)
    """most tiles in one forward pass; default: 1 on the CPU, where more only take longer, else 8"""
    max_clips: int = Field(default=16, ge=1, le=1024)
    """most clips in one forward pass of a network of clips"""
    batch_delay_ms: float = Field(default=2.0, ge=0, le=1000)
    """how long an incomplete batch waits for more tiles"""
    queue: int = Field(default=64, ge=1)
    """requests accepted at the same time; more are refused with 429"""
    video_queue: int = Field(default=16, ge=1)
    """videos accepted at the same time; more are refused with 429"""
    max_bytes: int = Field(default=32 * 2**20, ge=1024)
    """of a request's body, or of a picture in it; more is refused with 413"""
    max_video_bytes: int = Field(default=256 * 2**20, ge=1024)
    """of a body that may hold a video; more is refused with 413"""
    spool_bytes: int = Field(default=2**20, ge=1024)
    """of a body that may hold a video are kept in memory; a longer one goes to a file"""
    open_bytes: int = Field(default=256 * 2**20, ge=1024)
    """of all bodies held in memory at one time; more is refused with 429"""
    open_video_bytes: int = Field(default=2**30, ge=1024)
    """of all bodies held in temporary files at one time; more is refused with 429"""
    max_pixels: int = Field(default=40_000_000, ge=1, le=178_956_970)
    """of a picture, or a frame of video; more is refused with 422"""
    max_seconds: float = Field(default=600.0, gt=0)
    """of a video; more is refused with 422"""
    max_frames: int = Field(default=36_000, ge=1)
    """of a video; more is refused with 422"""
    frames: int = Field(default=32, ge=1, le=4096)
    """of a video that are looked at, spread evenly, unless the bundle says which"""
    min_frames: int = Field(default=4, ge=1)
    """of a video in which a face must be seen to be judged"""
    open_pixels: int = Field(default=80_000_000, ge=1)
    """of all that is decoded at one time, at about 26 bytes each; others wait"""
    timeout: float = Field(default=30.0, gt=0)
    """seconds from a complete request to its answer, else 504"""
    video_timeout: float = Field(default=120.0, gt=0)
    """the same for a video"""
    body_timeout: float = Field(default=30.0, gt=0)
    """seconds for a request's body to arrive, else 408"""
    drain_delay: float = Field(default=5.0, ge=0)
    """seconds to accept requests after SIGTERM, when not ready already"""
    load_timeout: float = Field(default=120.0, gt=0)
    """seconds to fetch, verify and warm up the bundle"""
    cache: str | None = None
    """folder for a fetched bundle; default: a temporary one"""

    @property
    def time_limits(self) -> tuple[float, ...]:
        """Seconds that a picture and a video may take to be answered, and a request in all, its body included."""
        return self.timeout, self.video_timeout, self.body_timeout + max(self.timeout, self.video_timeout)


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
