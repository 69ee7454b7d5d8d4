"""Judging a picture whole for a request: from bytes to an answer, with the transport left out."""

import asyncio
import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle import BundleVerdict, VerifiedBundle
from bundle.regions.analysis import Ensemble, blend_logits, tile_views
from core.errors import BadInputError
from media.pictures import decode_picture, encode_png, picture_size
from media.spec import InputSpec
from media.tiles import TilePlan
from serving import tensors
from serving.batcher import Arrays, Batcher, Job
from serving.documents import Analysis, BundleIdentity, PictureFacts, Timings
from serving.errors import RequestError
from serving.intake import PixelBudget
from serving.metrics import STAGES, Metrics
from serving.work import Stages, in_thread, infer

Tiles = dict[InputSpec, list[NDArray[np.uint8]]]
Plans = dict[InputSpec, TilePlan]


class PictureAnalyzer:
    """Judges pictures with one bundle that marks regions.

    Args:
        bundle: verified.
        batcher: runs its members.
        pool: threads for decoding, preprocessing and building answers.
        metrics: get stages, scores, disagreement and outcomes.
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
        stages = Stages(STAGES)
        width, height = await in_thread(self._pool, stages.timed, "decode", self._size, data)
        async with self._budget.hold(width * height):
            digest, tiles, plans = await in_thread(self._pool, self._open, data, stages)
            jobs = await self._infer(tiles, stages)
            return await in_thread(self._pool, self._answer, digest, plans, jobs, with_mask, stages)

    async def judge_tensor(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Judge decoded pixels uint8 [H, W, 3]; return the bundle's output tensors."""
        async with self._budget.hold(rgb.shape[0] * rgb.shape[1]):
            stages = Stages(STAGES)
            tiles, plans = await in_thread(self._pool, self._cut, rgb, stages)
            jobs = await self._infer(tiles, stages)
            return tensors.verdict_outputs(await in_thread(self._pool, self._blend, plans, jobs, stages))

    async def outputs(self, member: str, pixels: NDArray[np.uint8]) -> Arrays:
        """Return the outputs of a member's network by name, float32 [B, …] each, for uint8 [B, C, S, S]."""
        return await asyncio.wrap_future(self._batcher.submit(member, list(pixels)).future)

    async def _infer(self, tiles: Tiles, stages: Stages) -> dict[str, Job]:
        work = infer(self._batcher, {member.name: tiles[member.input] for member in self.document.members}, stages)
        tiles.clear()  # each job holds its own until they are done; the picture is freed with the last
        return await work

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
            logits = jobs.pop(member.name).future.result()["logits"]  # popped, so that each is freed once it is blended
            ensemble.add(member, blend_logits(logits, plans[member.input], member.temperature))
        judged = ensemble.verdict()
        opinions = {opinion.name: opinion.score for opinion in judged.members}
        self._metrics.observe_scores(judged.verdict.score, opinions)
        return judged

    def _answer(self, digest: str, plans: Plans, jobs: dict[str, Job], with_mask: bool, stages: Stages) -> bytes:
        judged = self._blend(plans, jobs, stages)
        height, width = judged.probability.shape
        fields = stages.timed("postprocess", judged.to_document)
        mask = stages.timed("postprocess", encode_png, judged.verdict.mask) if with_mask else None
        timings = Timings.model_validate(stages.finish())
        self._metrics.observe_stages(stages.seconds)
        self._metrics.outcomes.labels("judged").inc()
        analysis = Analysis(
            **fields,
            mask=None if mask is None else base64.b64encode(mask).decode(),
            picture=PictureFacts(width=width, height=height, sha256=digest),
            bundle=self.identity,
            timings=timings,
        )
        return analysis.model_dump_json().encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bad_picture(error: BadInputError) -> RequestError:
    return RequestError(422, error.reason, f"this picture cannot be judged: {error.detail}")
