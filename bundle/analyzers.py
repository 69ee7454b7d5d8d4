"""What a server and the analyzer of a bundle need of each other, whatever carries the requests.

A task's half in ``bundle`` says what its answers look like (``Served``) and builds an ``Analyzer`` on the ``Workbench``
that the server lends it. What is wrong with a request is a ``RequestError`` of a category; a transport turns the
category into a status of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bundle.document import MODEL
from bundle.reading import VerifiedBundle
from bundle.work import Stages
from core.errors import VeriframeError
from media.tensors import TensorSpec

Item = Mapping[str, NDArray[Any]]  # the arrays of one sample by the names of a network's inputs, without the batch
Outputs = dict[str, NDArray[np.float32]]  # of a network by name, [N, ...] each

PICTURE = "picture"
PICTURE_INPUTS = {PICTURE: TensorSpec(datatype="UINT8", shape=(-1, -1, 3))}


class Category(Enum):
    """Why a request is not answered, in words that are true of any transport."""

    MALFORMED = "malformed"  # it cannot be read
    UNKNOWN = "unknown"  # it names something that does not exist
    SLOW = "slow"  # it did not arrive in time
    TOO_LARGE = "too-large"  # it has too many bytes
    UNSUPPORTED = "unsupported"  # it holds a medium of a kind that the bundle does not analyze
    UNUSABLE = "unusable"  # it was read, but what it holds cannot be analyzed
    BUSY = "busy"  # the server has no room for it now
    ABANDONED = "abandoned"  # nobody waits for the answer any more
    FAILED = "failed"  # the server is at fault; counted as an outcome, not as a refusal
    UNAVAILABLE = "unavailable"  # the server cannot work yet, or not now
    LATE = "late"  # the answer took too long


class RequestError(VeriframeError):
    """A request that is refused or fails.

    Args:
        category: what kind of refusal.
        reason: a short stable code; a label of the metric ``veriframe_rejected_total``.
        detail: a sentence for a person.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(self, category: Category, reason: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.category = category
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


def unsupported(detail: str) -> RequestError:
    """Refuse a medium of a kind that the bundle does not analyze; ``detail`` says which it does."""
    return RequestError(Category.UNSUPPORTED, "unsupported-media", detail)


class NoOptions(BaseModel):
    """Nothing that a request may ask of an analysis."""


Options = TypeVar("Options", bound=BaseModel)


class Limits(Protocol):
    """What an operator allows."""

    @property
    def max_pixels(self) -> int:
        """Of a picture or a frame of video."""

    @property
    def open_pixels(self) -> int:
        """Of all that is decoded at one time, at about 26 bytes each."""

    @property
    def max_seconds(self) -> float:
        """Of a video."""

    @property
    def max_frames(self) -> int:
        """Of a video."""

    @property
    def frames(self) -> int:
        """Of a video that are looked at, spread evenly, unless the bundle fixes them."""

    @property
    def min_frames(self) -> int:
        """Of a video in which something must be seen to count."""


class Budget(Protocol):
    """Bounds the pixels that are decoded at one time."""

    def hold(self, pixels: int) -> AbstractAsyncContextManager[None]:
        """Wait until there is room for so many pixels, and hold it."""


class MetricsSink(Protocol):
    """Where an analyzer counts."""

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of each stage of a request."""

    def observe_scores(self, ensemble: float, members: Mapping[str, float]) -> None:
        """Add the score of a medium, and those of its members by name."""

    def observe_outcome(self, outcome: str) -> None:
        """Count a medium; the outcome is one of ``Served.outcomes``."""

    def observe_tally(self, name: str, value: float) -> None:
        """Add a value to one of ``Served.tallies``."""


class Workbench(Protocol):
    """What a server lends an analyzer."""

    @property
    def limits(self) -> Limits:
        """As the operator set them."""

    @property
    def metrics(self) -> MetricsSink:
        """Where to count."""

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for decoding pictures, preprocessing, and building answers."""

    @property
    def video_pool(self) -> ThreadPoolExecutor:
        """Threads for videos, so that pictures never wait for one."""

    def budget(self, pixels: int) -> Budget:
        """Return a new budget of so many pixels."""

    async def infer(
        self, items: Mapping[str, Sequence[Item]], stages: Stages, network: str = MODEL
    ) -> dict[str, Outputs]:
        """Run one network of several members in batches that requests share; whoever is cancelled gives its items up.

        Args:
            items: by member what its network reads, at least one item each; members that have none are missing.
            stages: get the length of the forward passes as ``inference``.
            network: its name in the members.

        Returns:
            By member the outputs by name, float32 [N, ...] each, in the order of the items.
        """


@dataclass(frozen=True)
class Tally:
    """A number that an analyzer finds in every medium, exposed as the histogram ``veriframe_<name>``."""

    name: str
    meaning: str
    buckets: tuple[float, ...]


@dataclass(frozen=True)
class Served:
    """What a server must know of a task before it has a bundle.

    Attributes:
        answer: model of the JSON that an analysis is.
        stages: that a medium spends time in; ``inference`` and ``queue`` among them.
        outcomes: that a medium can have.
        options: what a request may ask of an analysis: query parameters, each with its description.
        tallies: that are counted besides.
    """

    answer: type[BaseModel]
    stages: tuple[str, ...]
    outcomes: tuple[str, ...]
    options: type[BaseModel] = NoOptions
    tallies: tuple[Tally, ...] = ()


class Analyzer(ABC, Generic[Options]):
    """Analyzes media with one bundle, and is a model of the Open Inference Protocol itself.

    Args:
        bundle: verified.
        workbench: of the server.

    Attributes:
        video_seconds: of work that a video takes, a running mean; 0 where none was analyzed.
    """

    accepts_video: ClassVar[bool] = False
    """Whether videos are analyzed besides pictures."""
    inputs: ClassVar[Mapping[str, TensorSpec]] = PICTURE_INPUTS
    """The arrays that ``infer`` takes: whole shapes, with -1 for any size."""
    outputs: ClassVar[Mapping[str, TensorSpec]]
    """The arrays that ``infer`` returns: likewise."""

    def __init__(self, bundle: VerifiedBundle, workbench: Workbench) -> None:
        self.bundle = bundle
        self.document = bundle.document
        self.workbench = workbench
        self.video_seconds = 0.0

    @abstractmethod
    async def analyze_picture(self, data: bytes, options: Options) -> bytes:
        """Analyze a picture file.

        Args:
            data: a JPEG, PNG, TIFF, WebP or BMP file, or whatever else was sent.
            options: of the request, as ``Served.options`` says.

        Returns:
            A ``Served.answer`` as JSON.

        Raises:
            RequestError: when the bytes are no usable picture.
        """

    async def analyze_video(self, file: BinaryIO, options: Options) -> bytes:
        """Analyze a video file.

        Args:
            file: at any position; not used any more when this returns or raises, also where it is cancelled.
            options: of the request, as ``Served.options`` says.

        Returns:
            A ``Served.answer`` as JSON.

        Raises:
            RequestError: when the bytes are no usable video, or the bundle analyzes none.
        """
        del file, options
        raise unsupported("this bundle judges pictures (JPEG, PNG, TIFF, WebP, BMP), and this is a video")

    @abstractmethod
    async def infer(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Analyze decoded arrays.

        Args:
            arrays: as ``inputs`` says.

        Returns:
            As ``outputs`` says.
        """
