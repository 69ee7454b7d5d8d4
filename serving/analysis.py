"""Judging a picture for a request: from bytes to an answer, with the transport left out."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from media.bundle import BundleVerdict, VerifiedBundle
from media.bundle.judging import Ensemble, blend_logits, tile_views
from media.errors import BadInputError
from media.pictures import decode_picture, encode_png, picture_size
from media.spec import InputSpec
from media.tiles import TilePlan
from serving.batcher import Batcher, Job
from serving.documents import Analysis, BundleIdentity, PictureFacts, Timings
from serving.errors import RequestError
from serving.intake import PixelBudget
from serving.metrics import ENSEMBLE, STAGES, Metrics

P = ParamSpec("P")
T = TypeVar("T")
Tiles = dict[InputSpec, list[NDArray[np.uint8]]]
Plans = dict[InputSpec, TilePlan]


@dataclass
class Stages:
    """Seconds a request has spent in each stage since it was made."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def timed(self, stage: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call, and add the time it takes to ``stage``."""
        started = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def finish(self) -> Timings:
        """Give the time that belongs to no stage to ``queue``, and return all rounded to microseconds."""
        total = time.perf_counter() - self.started
        self.seconds["queue"] = max(0.0, total - sum(self.seconds.values()))
        rounded = {stage: round(seconds, 6) for stage, seconds in self.seconds.items()}
        return Timings(**rounded, total=round(total, 6))


class Analyzer:
    """Judges pictures with one bundle.

    Args:
        bundle: verified.
        batcher: runs its members.
        pool: threads for decoding, preprocessing and building answers.
        metrics: get stages, scores and disagreement.
        max_pixels: of a picture.
        open_pixels: of all pictures that are decoded at one time.
    """

    def __init__(
        self,
        bundle: VerifiedBundle,
        batcher: Batcher,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        *,
        max_pixels: int,
        open_pixels: int,
    ) -> None:
        self.document = bundle.document
        self.identity = BundleIdentity(name=self.document.name, version=self.document.version, sha256=bundle.sha256)
        self._batcher = batcher
        self._pool = pool
        self._metrics = metrics
        self._max_pixels = max_pixels
        self._budget = PixelBudget(open_pixels)

    async def analyze(self, data: bytes, *, with_mask: bool) -> bytes:
        """Judge a picture file.

        Args:
            data: a JPEG, PNG, TIFF, WebP or BMP file.
            with_mask: whether the answer holds the mask.

        Returns:
            An ``Analysis`` as JSON.

        Raises:
            RequestError: 422 when the bytes are no usable picture.
        """
        stages = Stages()
        width, height = await self._in_thread(stages.timed, "decode", self._size, data)
        async with self._budget.hold(width * height):
            digest, tiles, plans = await self._in_thread(self._open, data, stages)
            jobs = await self._infer(tiles, stages)
            return await self._in_thread(self._answer, digest, plans, jobs, with_mask, stages)

    async def judge(self, rgb: NDArray[np.uint8]) -> BundleVerdict:
        """Judge decoded pixels uint8 [H, W, 3]."""
        async with self._budget.hold(rgb.shape[0] * rgb.shape[1]):
            stages = Stages()
            tiles, plans = await self._in_thread(self._cut, rgb, stages)
            jobs = await self._infer(tiles, stages)
            return await self._in_thread(self._blend, plans, jobs, stages)

    async def logits(self, member: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a member's logits float32 [B, 1, S, S] for uint8 [B, C, S, S]."""
        return await asyncio.wrap_future(self._batcher.submit(member, list(pixels)).future)

    async def _infer(self, tiles: Tiles, stages: Stages) -> dict[str, Job]:
        submitted = time.perf_counter()
        jobs = self._batcher.submit_all({member.name: tiles[member.input] for member in self.document.members})
        tiles.clear()  # each job holds its own until they are done; the picture is freed with the last
        try:
            await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs.values()))
        finally:
            for job in jobs.values():  # of a request that failed or was given up, nothing more is run
                job.future.cancel()
        # Passes that ran at the same time count once.
        elapsed = time.perf_counter() - submitted
        stages.seconds["inference"] = min(elapsed, sum(job.seconds for job in jobs.values()))
        return jobs

    def _size(self, data: bytes) -> tuple[int, int]:
        try:
            return picture_size(data, max_pixels=self._max_pixels)
        except BadInputError as error:
            raise _bad_picture(error) from None

    # A request passes from thread to thread as seldom as can be: each time it waits for the interpreter's lock.

    def _open(self, data: bytes, stages: Stages) -> tuple[str, Tiles, Plans]:
        try:
            rgb = stages.timed("decode", decode_picture, data, max_pixels=self._max_pixels)
        except BadInputError as error:
            raise _bad_picture(error) from None
        return stages.timed("decode", _digest, data), *self._cut(rgb, stages)

    def _cut(self, rgb: NDArray[np.uint8], stages: Stages) -> tuple[Tiles, Plans]:
        tiles: Tiles = {}
        plans: Plans = {}
        try:
            for spec in dict.fromkeys(member.input for member in self.document.members):
                tiles[spec], plans[spec] = stages.timed("preprocess", tile_views, rgb, spec)
        except BadInputError as error:
            raise _bad_picture(error) from None
        return tiles, plans

    def _blend(self, plans: Plans, jobs: dict[str, Job], stages: Stages) -> BundleVerdict:
        return stages.timed("postprocess", self._blend_members, plans, jobs)

    def _blend_members(self, plans: Plans, jobs: dict[str, Job]) -> BundleVerdict:
        plan = next(iter(plans.values()))
        ensemble = Ensemble(self.document, (plan.height, plan.width))
        for member in self.document.members:
            logits = jobs.pop(member.name).future.result()  # popped, so that each is freed once it is blended
            ensemble.add(member, blend_logits(logits, plans[member.input], member.temperature))
        judged = ensemble.verdict()
        self._observe(judged)
        return judged

    def _observe(self, judged: BundleVerdict) -> None:
        self._metrics.score.labels(ENSEMBLE).observe(judged.verdict.score)
        scores = [opinion.score for opinion in judged.members]
        for opinion in judged.members:
            self._metrics.score.labels(opinion.name).observe(opinion.score)
        self._metrics.disagreement.observe(max(scores) - min(scores))

    def _answer(self, digest: str, plans: Plans, jobs: dict[str, Job], with_mask: bool, stages: Stages) -> bytes:
        judged = self._blend(plans, jobs, stages)
        height, width = judged.probability.shape
        fields = stages.timed("postprocess", judged.to_document)
        mask = stages.timed("postprocess", encode_png, judged.verdict.mask) if with_mask else None
        timings = stages.finish()
        for stage in STAGES:
            self._metrics.stage_seconds.labels(stage).observe(stages.seconds[stage])
        analysis = Analysis(
            **fields,
            mask=None if mask is None else base64.b64encode(mask).decode(),
            picture=PictureFacts(width=width, height=height, sha256=digest),
            bundle=self.identity,
            timings=timings,
        )
        return analysis.model_dump_json().encode()

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bad_picture(error: BadInputError) -> RequestError:
    return RequestError(422, error.reason, f"this picture cannot be judged: {error.detail}")
