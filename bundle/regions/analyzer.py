"""Analyzing a picture for a server with a bundle that marks regions: from bytes to an answer."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import (
    PICTURE,
    Analyzer,
    Category,
    Item,
    Outputs,
    RequestError,
    Workbench,
)
from bundle.answers import PictureFacts, Timings, identity
from bundle.reading import VerifiedBundle
from bundle.regions.analysis import BundleVerdict, Ensemble, blend_logits, tiles_view
from bundle.regions.documents import JUDGED, STAGES, Analysis, PictureOptions
from bundle.regions.protocol import OUTPUTS, verdict_arrays
from bundle.work import Stages, in_thread
from core.errors import BadInputError
from media.pictures import decode_picture, encode_png, picture_size
from media.spec import InputSpec
from media.tensors import TensorSpec
from media.tiles import Plan

Tiles = dict[InputSpec, Sequence[Item]]
Plans = dict[InputSpec, Plan]


class PictureAnalyzer(Analyzer[PictureOptions]):
    """Analyzes pictures whole, in overlapping tiles."""

    outputs: ClassVar[Mapping[str, TensorSpec]] = OUTPUTS

    def __init__(self, bundle: VerifiedBundle, workbench: Workbench) -> None:
        super().__init__(bundle, workbench)
        self._identity = identity(bundle)
        self._budget = workbench.budget(workbench.limits.open_pixels)

    async def analyze_picture(self, data: bytes, options: PictureOptions) -> bytes:
        """Analyze a picture file."""
        stages = Stages(STAGES)
        width, height = await in_thread(self.workbench.pool, stages.timed, "decode", self._size, data)
        async with self._budget.hold(width * height):
            digest, tiles, plans = await in_thread(self.workbench.pool, self._open, data, stages)
            outputs = await self._infer(tiles, stages)
            return await in_thread(self.workbench.pool, self._answer, digest, plans, outputs, options.mask, stages)

    async def infer(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Analyze decoded pixels: ``picture`` uint8 [H, W, 3]."""
        rgb = arrays[PICTURE]
        async with self._budget.hold(rgb.shape[0] * rgb.shape[1]):
            stages = Stages(STAGES)
            tiles, plans = await in_thread(self.workbench.pool, self._cut, rgb, stages)
            outputs = await self._infer(tiles, stages)
            return verdict_arrays(await in_thread(self.workbench.pool, self._blend, plans, outputs, stages))

    async def _infer(self, tiles: Tiles, stages: Stages) -> dict[str, Outputs]:
        work = self.workbench.infer({member.name: tiles[member.input] for member in self.document.members}, stages)
        tiles.clear()  # what is queued holds its own until it is done; the picture is freed with the last
        return await work

    def _size(self, data: bytes) -> tuple[int, int]:
        try:
            return picture_size(data, max_pixels=self.workbench.limits.max_pixels)
        except BadInputError as error:
            raise _unusable(error) from None

    # A request passes from thread to thread as seldom as can be: each time it waits for the interpreter's lock.

    def _open(self, data: bytes, stages: Stages) -> tuple[str, Tiles, Plans]:
        try:
            rgb = stages.timed("decode", decode_picture, data, max_pixels=self.workbench.limits.max_pixels)
        except BadInputError as error:
            raise _unusable(error) from None
        return stages.timed("decode", _digest, data), *self._cut(rgb, stages)

    def _cut(self, rgb: NDArray[np.uint8], stages: Stages) -> tuple[Tiles, Plans]:
        tiles: Tiles = {}
        plans: Plans = {}
        try:
            for spec in dict.fromkeys(member.input for member in self.document.members):
                tiles[spec], plans[spec] = stages.timed("preprocess", _tiles, rgb, spec)
        except BadInputError as error:
            raise _unusable(error) from None
        return tiles, plans

    def _blend(self, plans: Plans, outputs: dict[str, Outputs], stages: Stages) -> BundleVerdict:
        return stages.timed("postprocess", self._blend_members, plans, outputs)

    def _blend_members(self, plans: Plans, outputs: dict[str, Outputs]) -> BundleVerdict:
        plan = next(iter(plans.values()))
        ensemble = Ensemble(self.document, (plan.height, plan.width))
        for member in self.document.members:
            logits = outputs.pop(member.name)["logits"]  # popped, so that each is freed once it is blended
            ensemble.add(member, blend_logits(logits, plans[member.input], member.temperature))
        judged = ensemble.verdict()
        scores = {opinion.name: opinion.score for opinion in judged.members}
        self.workbench.metrics.observe_scores(judged.verdict.score, scores)
        return judged

    def _answer(self, digest: str, plans: Plans, outputs: dict[str, Outputs], with_mask: bool, stages: Stages) -> bytes:
        judged = self._blend(plans, outputs, stages)
        height, width = judged.probability.shape
        fields = stages.timed("postprocess", judged.to_document)
        mask = stages.timed("postprocess", encode_png, judged.verdict.mask) if with_mask else None
        timings = Timings.model_validate(stages.finish())
        self.workbench.metrics.observe_stages(stages.seconds)
        self.workbench.metrics.observe_outcome(JUDGED)
        analysis = Analysis(
            **fields,
            mask=None if mask is None else base64.b64encode(mask).decode(),
            picture=PictureFacts(width=width, height=height, sha256=digest),
            bundle=self._identity,
            timings=timings,
        )
        return analysis.model_dump_json().encode()


def _tiles(rgb: NDArray[np.uint8], spec: InputSpec) -> tuple[Sequence[Item], Plan]:
    """Return what a network reads of a picture, tile by tile, and the plan that puts the tiles back together."""
    view = tiles_view(spec)
    tiles, plan = view.tiles(rgb)
    return [{view.name: tile} for tile in tiles], plan


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unusable(error: BadInputError) -> RequestError:
    return RequestError(Category.UNUSABLE, error.reason, f"this picture cannot be judged: {error.detail}")
