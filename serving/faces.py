"""Judging the faces in a video or a picture for a request: from what was found to an answer."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bundle import BundleMember, VerifiedBundle
from bundle.faces.analysis import FaceVerdict, MemberScores, clip_inputs, ensemble_heatmap, judge_tracks
from bundle.faces.report import Suspect, crops_by_track, most_suspicious, verdict_document
from bundle.runtimes import RunClips
from media.faces import FacesFound
from media.heat import heat_of_crop, lay_heat
from media.inputs import face_view
from media.pictures import encode_png
from serving import tensors
from serving.batcher import Arrays, Batcher
from serving.documents import BundleIdentity, FaceAnalysis, FaceTimings, HeatmapDocument
from serving.finding import FaceFinder, Medium
from serving.metrics import FACE_STAGES, Metrics
from serving.work import Stages, in_thread, infer

SMOOTHING = 0.2  # share of the newest video in the running mean of seconds a video
WORK = ("decode", "detect", "inference")  # the stages that keep a video waiting behind others


class FaceAnalyzer:
    """Judges faces in videos and pictures with one bundle of classifiers.

    Args:
        bundle: verified.
        batcher: runs its members' networks of frames.
        clips: the networks of clips, by member; members without one are missing.
        finder: finds the faces.
        pool: threads for preprocessing and building answers.
        metrics: get stages, scores, disagreement, outcomes, faces and frames.

    Attributes:
        video_seconds: of work that a video takes, a running mean.
    """

    def __init__(
        self,
        bundle: VerifiedBundle,
        batcher: Batcher,
        clips: Mapping[str, RunClips],
        finder: FaceFinder,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
    ) -> None:
        self.document = bundle.document
        self.identity = BundleIdentity(name=self.document.name, version=self.document.version, sha256=bundle.sha256)
        self.video_seconds = 0.0
        self._batcher = batcher
        self._clips = clips
        self._finder = finder
        self._pool = pool
        self._metrics = metrics
        self._weights = {member.name: member.weight for member in self.document.members}
        self._with_heatmap = [member for member in self.document.members if "heatmap" in member.outputs]

    async def analyze_video(self, file: BinaryIO, *, heatmaps: int) -> bytes:
        """Judge a video file.

        Args:
            file: at any position; not used any more when this returns or raises, also where it is cancelled.
            heatmaps: how many the answer holds at most.

        Returns:
            A ``FaceAnalysis`` as JSON.

        Raises:
            RequestError: 422 when the bytes are no usable video.
        """
        stages = Stages(FACE_STAGES)
        async with self._finder.in_video(file, stages) as medium:
            answer = await self._judge(medium, heatmaps, stages)
        seconds = sum(stages.seconds[stage] for stage in WORK)
        self.video_seconds += (seconds - self.video_seconds) * (SMOOTHING if self.video_seconds else 1)
        return answer

    async def analyze_picture(self, data: bytes, *, heatmaps: int) -> bytes:
        """Judge a picture file; argument and answer as for a video.

        Raises:
            RequestError: 415 when the bytes are no picture, 422 when they are no usable one.
        """
        stages = Stages(FACE_STAGES)
        async with self._finder.in_picture(data, stages) as medium:
            return await self._judge(medium, heatmaps, stages)

    async def judge_tensor(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Judge decoded pixels uint8 [H, W, 3]; return the bundle's output tensors."""
        stages = Stages(FACE_STAGES)
        async with self._finder.in_pixels(rgb, stages) as medium:
            outputs = await self._infer(medium.found, stages)
            verdict = await in_thread(self._pool, self._verdict, medium, outputs, stages)
        crops = crops_by_track(medium.found)
        return tensors.face_outputs(verdict, {number: crops[number][0].box for number in crops})

    async def outputs(self, member: str, pixels: NDArray[np.uint8]) -> Arrays:
        """Return the outputs of a member's network of frames by name, float32 [B, …], for uint8 [B, C, S, S]."""
        return await asyncio.wrap_future(self._batcher.submit(member, list(pixels)).future)

    async def _judge(self, medium: Medium, heatmaps: int, stages: Stages) -> bytes:
        outputs = await self._infer(medium.found, stages)
        return await in_thread(self._pool, self._answer, medium, outputs, heatmaps, stages)

    async def _infer(self, found: FacesFound, stages: Stages) -> dict[str, Arrays]:
        """Return the outputs of every member's network of frames for all crops, in their order."""
        if not found.crops:
            return {}
        views = await in_thread(self._pool, stages.timed, "preprocess", self._views, found)
        jobs = await infer(self._batcher, views, stages)
        return {name: job.future.result() for name, job in jobs.items()}

    def _views(self, found: FacesFound) -> dict[str, Sequence[NDArray[np.uint8]]]:
        members = self.document.members
        views = {
            spec: [face_view(crop.rgb, spec) for crop in found.crops]
            for spec in dict.fromkeys(member.input for member in members)
        }
        return {member.name: views[member.input] for member in members}

    def _verdict(self, medium: Medium, outputs: Mapping[str, Arrays], stages: Stages) -> FaceVerdict:
        rows: dict[int, list[int]] = {}
        for row, crop in enumerate(medium.found.crops):
            rows.setdefault(crop.track, []).append(row)
        tracks = {
            track: {
                member.name: self._scores(member, outputs[member.name], own, stages) for member in self.document.members
            }
            for track, own in rows.items()
        }
        return stages.timed("postprocess", judge_tracks, self.document, tracks, min_frames=medium.min_frames)

    def _scores(self, member: BundleMember, outputs: Arrays, rows: Sequence[int], stages: Stages) -> MemberScores:
        """Return what a member says of one track, whose crops are these rows of the outputs."""
        logits = outputs["logits"][rows, 0]
        if member.name not in self._clips:
            return MemberScores(logits)
        vectors, lengths = clip_inputs(outputs["vectors"][rows], member.input.frames)
        return MemberScores(logits, stages.timed("inference", self._clips[member.name], vectors, lengths)[:, 0])

    def _answer(self, medium: Medium, outputs: Mapping[str, Arrays], heatmaps: int, stages: Stages) -> bytes:
        verdict = self._verdict(medium, outputs, stages)
        fields = stages.timed("postprocess", verdict_document, verdict, medium.found)
        pictures = stages.timed("postprocess", self._heatmaps, verdict, medium.found, outputs, heatmaps)
        timings = FaceTimings.model_validate(stages.finish())
        analysis = FaceAnalysis(
            **fields,
            heatmaps=pictures,
            video=medium.video,
            picture=medium.picture,
            bundle=self.identity,
            timings=timings,
        )
        self._observe(verdict, analysis, stages)
        return analysis.model_dump_json().encode()

    def _heatmaps(
        self, verdict: FaceVerdict, found: FacesFound, outputs: Mapping[str, Arrays], count: int
    ) -> list[HeatmapDocument]:
        documents = []
        for suspect in most_suspicious(verdict, found, count):
            shape = suspect.crop.rgb.shape[:2]
            maps = {
                member.name: heat_of_crop(outputs[member.name]["heatmap"][suspect.position, 0], shape, member.input)
                for member in self._with_heatmap
            }
            heat = ensemble_heatmap(maps, self._weights)
            if heat is not None:  # some member has one
                documents.append(self._heatmap(suspect, heat))
        return documents

    def _heatmap(self, suspect: Suspect, heat: NDArray[np.float32]) -> HeatmapDocument:
        crop = suspect.crop
        return HeatmapDocument(
            face=crop.track,
            frame=crop.frame,
            time=round(crop.time_ms / 1000, 6),
            probability=round(suspect.probability, 6),
            members=[member.name for member in self._with_heatmap],
            picture=base64.b64encode(encode_png(lay_heat(crop.rgb, heat))).decode(),
        )

    def _observe(self, verdict: FaceVerdict, analysis: FaceAnalysis, stages: Stages) -> None:
        metrics = self._metrics
        metrics.observe_stages(stages.seconds)
        metrics.outcomes.labels(verdict.outcome).inc()
        metrics.faces.observe(len(analysis.faces))
        metrics.frames_used.observe(analysis.frames_used)
        if verdict.probability is not None:
            metrics.observe_scores(verdict.probability, {one.name: one.probability for one in verdict.members})
