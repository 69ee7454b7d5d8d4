"""The server's state: loading, then ready, then draining; and what it serves with once it is loaded."""

import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from bundle.analyzers import Analyzer, Category, RequestError
from bundle.document import BUNDLE_FILE
from bundle.reading import VerifiedBundle
from bundle.task import BUNDLE_TASKS
from core.errors import MismatchError, VeriframeError
from core.processors import processors
from serving.batcher import Batcher
from serving.dataplane import DataPlane
from serving.intake import Intake
from serving.metrics import Metrics
from serving.networks import open_lanes
from serving.settings import ServerSettings
from serving.source import fetch_bundle
from serving.workbench import ServerWorkbench

State = Literal["loading", "ready", "draining"]
# A GPU's error state stays until the process is gone; one bad batch says nothing yet.
FAILURES_UNTIL_DEAD = 3


class Service:
    """What all routes share.

    Attributes:
        settings: as the operator gave them.
        served: what each task that there is answers with and counts, whichever the bundle is of.
        metrics: all of the server's.
        intake: counts requests, and their bodies in memory.
        videos: counts videos among them, and bodies in temporary files.
        state: ``loading`` → ``ready`` → ``draining``.
        failure: why the bundle could not be loaded.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.served = tuple(BUNDLE_TASKS.get(name).served for name in BUNDLE_TASKS.names())
        self.metrics = Metrics(self.served, settings.time_limits)
        self.intake = Intake(
            settings.queue, settings.open_bytes, lambda: self._batcher.backlog_seconds if self._batcher else 0.0
        )
        self.videos = Intake(settings.video_queue, settings.open_video_bytes, self._video_backlog)
        self.metrics.follow(
            queue_depth=lambda: self._batcher.waiting if self._batcher else 0,
            in_flight=lambda: self.intake.in_flight + self.videos.in_flight,
        )
        self.state: State = "loading"
        self.failure: VeriframeError | None = None
        self._analyzer: Analyzer[Any] | None = None
        self._dataplane: DataPlane | None = None
        self._batcher: Batcher | None = None
        self._pool = ThreadPoolExecutor(settings.decoders, thread_name_prefix="picture")
        # Apart, so that the answer to a picture never waits for the end of a video.
        self._video_pool = ThreadPoolExecutor(settings.video_decoders, thread_name_prefix="video")
        self._folder = tempfile.TemporaryDirectory(prefix="veriframe-bundle-")
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether the process can still do its work; False asks to be restarted."""
        return self._batcher is None or (self._batcher.alive and self._batcher.failures < FAILURES_UNTIL_DEAD)

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.state == "ready" and self.live

    def model_ready(self, name: str) -> bool:
        """Return whether a model can be used; while the bundle is loaded nobody knows which there will be.

        Raises:
            RequestError: unknown, with a suggestion.
        """
        if self.state != "loading":
            self.dataplane.find(name)
        return self.ready

    @property
    def analyzer(self) -> Analyzer[Any]:
        """What analyzes media.

        Raises:
            RequestError: unavailable before the bundle is loaded.
        """
        if self._analyzer is None:
            raise _not_ready()
        return self._analyzer

    @property
    def dataplane(self) -> DataPlane:
        """The models.

        Raises:
            RequestError: unavailable before the bundle is loaded.
        """
        if self._dataplane is None:
            raise _not_ready()
        return self._dataplane

    @property
    def version(self) -> str:
        """The git commit of the server's source, which its image carries."""
        return os.environ.get("VERIFRAME_GIT_SHA") or "unknown"

    @property
    def platform(self) -> str:
        """What runs the networks, in the protocol's words."""
        return {"onnx": "onnx_onnxruntime", "torchscript": "pytorch_torchscript"}[self.settings.runtime]

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for what would hold up the event loop."""
        return self._pool

    def load(self) -> None:
        """Fetch and verify the bundle, open its networks, run each once, and become ready.

        Raises:
            VeriframeError: when any of these fails; nothing is served then.
        """
        bundle = self._fetch()
        workbench = self._open(bundle)
        analyzer = BUNDLE_TASKS.get(bundle.document.task).analyzer(bundle, workbench)
        identity = {"name": bundle.document.name, "version": bundle.document.version, "sha256": bundle.sha256}
        run = {"runtime": self.settings.runtime, "precision": self.settings.precision}
        self.metrics.bundle_info.labels(**identity, **run).set(1)
        with self._lock:
            self._batcher = workbench.batcher
            self._analyzer = analyzer
            self._dataplane = DataPlane(analyzer, workbench, self.platform)
            if self.state == "loading":
                self.state = "ready"

    def _fetch(self) -> VerifiedBundle:
        settings = self.settings
        folder = Path(settings.cache) if settings.cache else Path(self._folder.name)
        bundle = fetch_bundle(settings.bundle, folder)
        if settings.bundle_sha256 not in (None, bundle.sha256):
            raise MismatchError(
                f"{settings.bundle}: {BUNDLE_FILE} has sha256 {bundle.sha256}, bundle_sha256 asks for "
                f"{settings.bundle_sha256}"
            )
        return bundle

    def _open(self, bundle: VerifiedBundle) -> ServerWorkbench:
        settings = self.settings
        passes, threads = share_threads(settings)
        batcher = Batcher(
            open_lanes(bundle, settings, passes, threads),
            passes=passes,
            observe=lambda name, items, _: self.metrics.batch_size.labels(*name).observe(items),
        )
        return ServerWorkbench(settings, self.metrics, self._pool, self._video_pool, batcher)

    def _video_backlog(self) -> float:
        """Return how many seconds the videos at hand will take together."""
        if self._analyzer is None:
            return 0.0
        return self.videos.in_flight * self._analyzer.video_seconds / self.settings.video_decoders

    def drain(self) -> None:
        """Stop being ready; requests are still accepted."""
        with self._lock:
            self.state = "draining"

    def close(self) -> None:
        """Finish what is queued and remove what was fetched."""
        if self._batcher is not None:
            self._batcher.stop()
        self._pool.shutdown()
        self._video_pool.shutdown()
        self._folder.cleanup()


def _not_ready() -> RequestError:
    return RequestError(Category.UNAVAILABLE, "not-ready", "the bundle is still being loaded", retry_after=5)


def share_threads(settings: ServerSettings) -> tuple[int, int]:
    """Return how many forward passes run at one time, and how many threads of the CPU each has.

    Two passes keep busy what one leaves idle where its threads wait for one another.
    """
    threads = settings.threads or processors()
    passes = settings.passes or (min(2, threads) if settings.device == "cpu" else 1)
    return passes, max(1, threads // passes)
