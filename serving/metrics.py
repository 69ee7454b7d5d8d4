"""Every metric the server exposes; ``docs/serving.md`` lists them with their meaning."""

import itertools
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from bundle.analyzers import Served

ENSEMBLE = "ensemble"
ERROR = "error"  # the outcome of what the server itself failed at
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


def seconds_buckets(limits: Iterable[float]) -> tuple[float, ...]:
    """Return upper bounds from a thumbnail on a GPU to beyond the longest time that is allowed.

    1, 2.5 and 5 times the powers of ten from 1 ms up to the first beyond the longest limit, and the limits themselves,
    so that how many came close to one can be read.

    Args:
        limits: seconds, at least one.
    """
    given = set(limits)
    bounds = []
    for bound in (float(f"{step}e{power}") for power in itertools.count(-3) for step in (1, 2.5, 5)):
        bounds.append(bound)
        if bound > max(given):
            return tuple(sorted({*bounds, *given}))
    raise AssertionError("unreachable")


class Metrics:
    """The server's metrics in a registry of their own, so that several servers can live in one process.

    Args:
        served: what the tasks that there are count.
        time_limits: seconds that a request, or a part of it, may take.
    """

    def __init__(self, served: Iterable[Served], time_limits: Iterable[float]) -> None:
        seconds = seconds_buckets(time_limits)
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter("veriframe_requests", "Requests answered.", ["route", "code"], registry=registry)
        self.request_seconds = Histogram(
            "veriframe_request_seconds",
            "Seconds from a request's header to the end of its answer.",
            ["route"],
            buckets=seconds,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "veriframe_stage_seconds",
            "Seconds a picture or a video spends in a stage.",
            ["stage"],
            buckets=seconds,
            registry=registry,
        )
        self.batch_size = Histogram(
            "veriframe_batch_size",
            "Tiles, faces or clips in a forward pass.",
            ["member", "network"],
            buckets=_BATCHES,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "veriframe_queue_depth", "Tiles, faces and clips that wait for a forward pass.", registry=registry
        )
        self.in_flight = Gauge("veriframe_in_flight", "Requests accepted and not yet answered.", registry=registry)
        self.rejected = Counter(
            "veriframe_rejected", "Requests that were refused, by reason.", ["reason"], registry=registry
        )
        self.score = Histogram(
            "veriframe_score", "Scores of pictures and videos, 0 to 1.", ["member"], buckets=_TENTHS, registry=registry
        )
        self.disagreement = Histogram(
            "veriframe_member_disagreement",
            "Highest minus lowest score of the members.",
            buckets=_TENTHS,
            registry=registry,
        )
        self.outcomes = Counter(
            "veriframe_outcomes",
            "Pictures and videos looked at, by outcome; error where the server failed.",
            ["outcome"],
            registry=registry,
        )
        self.bundle_info = Gauge(
            "veriframe_bundle_info",
            "1 for the bundle that is served.",
            ["name", "version", "sha256", "runtime", "precision"],
            registry=registry,
        )
        self.outcomes.labels(ERROR)
        self.tallies: dict[str, Histogram] = {}
        for task in served:
            for stage in task.stages:  # present from the start, so that rates have a first value
                self.stage_seconds.labels(stage)
            for outcome in task.outcomes:
                self.outcomes.labels(outcome)
            for tally in task.tallies:
                if tally.name not in self.tallies:  # tasks may share one
                    self.tallies[tally.name] = Histogram(
                        f"veriframe_{tally.name}", tally.meaning, buckets=tally.buckets, registry=registry
                    )

    def follow(self, *, queue_depth: Callable[[], int], in_flight: Callable[[], int]) -> None:
        """Read the gauges from their sources whenever they are scraped."""
        self.queue_depth.set_function(queue_depth)
        self.in_flight.set_function(in_flight)

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of each stage of a request."""
        for stage, value in seconds.items():
            self.stage_seconds.labels(stage).observe(value)

    def observe_scores(self, ensemble: float, members: Mapping[str, float]) -> None:
        """Add the score of a picture or a video, and those of its members by name."""
        self.score.labels(ENSEMBLE).observe(ensemble)
        for name, score in members.items():
            self.score.labels(name).observe(score)
        self.disagreement.observe(max(members.values()) - min(members.values()))

    def observe_outcome(self, outcome: str) -> None:
        """Count a picture or a video by its outcome."""
        self.outcomes.labels(outcome).inc()

    def observe_tally(self, name: str, value: float) -> None:
        """Add a value to what a task counts besides."""
        self.tallies[name].observe(value)

    def render(self) -> bytes:
        """Return Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)
