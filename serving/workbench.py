"""What the server lends the analyzer of a bundle."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bundle.analyzers import Item, Outputs
from bundle.document import MODEL
from bundle.work import Stages
from serving.batcher import Batcher, NetworkName
from serving.intake import PixelBudget
from serving.metrics import Metrics
from serving.settings import ServerSettings


@dataclass(frozen=True)
class ServerWorkbench:
    """A ``bundle.analyzers.Workbench``: this server's limits, threads, batcher and metrics."""

    limits: ServerSettings
    metrics: Metrics
    pool: ThreadPoolExecutor
    video_pool: ThreadPoolExecutor
    batcher: Batcher

    def budget(self, pixels: int) -> PixelBudget:
        """Return a new budget of so many pixels."""
        return PixelBudget(pixels)

    async def infer(
        self, items: Mapping[str, Sequence[Item]], stages: Stages, network: str = MODEL
    ) -> dict[str, Outputs]:
        """Run one network of several members, and add the length of the forward passes to ``inference``."""
        if not items:
            return {}
        submitted = time.perf_counter()
        jobs = self.batcher.submit_all({NetworkName(member, network): own for member, own in items.items()})
        del items  # each job frees its own as soon as they are done
        try:
            await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs.values()))
        finally:
            for job in jobs.values():  # of a request that failed or was given up, nothing more is run
                job.future.cancel()
        # Passes that ran at the same time count once.
        elapsed = time.perf_counter() - submitted
        stages.seconds["inference"] += min(elapsed, sum(job.seconds for job in jobs.values()))
        return {name.member: job.future.result() for name, job in jobs.items()}
