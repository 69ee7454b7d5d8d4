"""Analyzing the faces in a video or a picture for a server: from what was found to an answer."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import PICTURE, Analyzer, Outputs, Workbench
from bundle.answers import identity
from bundle.document import CLIP, HEATMAP
from bundle.faces.analysis import MemberScores, decide_tracks, ensemble_heatmap
from bundle.faces.clips import Clips, cut_clips
from bundle.faces.documents import FACES, FRAMES_USED, STAGES, FaceAnalysis, FaceOptions, FaceTimings, HeatmapDocument
from bundle.faces.protocol import OUTPUTS, verdict_arrays
from bundle.faces.readings import Readings, heatmap_of, positions_by_track, read_crops
from bundle.faces.report import Suspect, crops_by_track, most_suspicious, verdict_document
from bundle.faces.search import FaceFinder, Medium
from bundle.faces.verdict import FaceVerdict
from bundle.reading import VerifiedBundle
from bundle.work import Stages, in_thread
from media.faces import FacesFound
from media.heat import lay_heat
from media.pictures import encode_png
from media.tensors import TensorSpec

WORK = ("decode", "detect", "inference")  # the stages that keep a video waiting behind others
SMOOTHING = 0.2  # share of the newest video in the running mean of seconds a video


@dataclass(frozen=True)
class Inference:
    """What the networks gave of the crops of a medium.

    Attributes:
        tracks: by number the positions of its crops, in the order of time.
        readings: which crops each member read.
        outputs: by member those of its network ``model``, for the crops it read.
        clips: which clips each member with a clip network read.
        clip_outputs: by member those of its network ``clip``, for these.
    """

    tracks: Mapping[int, Sequence[int]] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)
    outputs: Mapping[str, Outputs] = field(default_factory=dict)
    clips: Clips = field(default_factory=Clips)
    clip_outputs: Mapping[str, Outputs] = field(default_factory=dict)

    def scores(self, member: str, track: int) -> MemberScores | None:
        """Return a member's scores of one track; None where it abstains from it."""
        rows = self.readings.rows_of(member, self.tracks[track])
        if not rows:
            return None
        frames = self.outputs[member]["logits"][rows, 0]
        if member not in self.clip_outputs:
            return MemberScores(frames)
        return MemberScores(frames, self.clip_outputs[member]["logits"][self.clips.of_track[member][track], 0])


class FaceAnalyzer(Analyzer[FaceOptions]):
    """Analyzes the faces in videos and pictures."""

    accepts_video: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, TensorSpec]] = OUTPUTS

    def __init__(self, bundle: VerifiedBundle, workbench: Workbench) -> None:
        super().__init__(bundle, workbench)
        self._identity = identity(bundle)
        self._finder = FaceFinder(bundle.document, workbench)
        self._weights = {member.name: member.weight for member in self.document.members}

    async def analyze_picture(self, data: bytes, options: FaceOptions) -> bytes:
        """Analyze a picture file."""
        stages = Stages(STAGES)
        async with self._finder.in_picture(data, stages) as medium:
            return await self._analyze(medium, options.heatmaps, stages)

    async def analyze_video(self, file: BinaryIO, options: FaceOptions) -> bytes:
        """Analyze a video file."""
        stages = Stages(STAGES)
        async with self._finder.in_video(file, stages) as medium:
            answer = await self._analyze(medium, options.heatmaps, stages)
        seconds = sum(stages.seconds[stage] for stage in WORK)
        self.video_seconds += (seconds - self.video_seconds) * (SMOOTHING if self.video_seconds else 1)
        return answer

    async def infer(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Analyze decoded pixels: ``picture`` uint8 [H, W, 3]."""
        stages = Stages(STAGES)
        async with self._finder.in_pixels(arrays[PICTURE], stages) as medium:
            inference = await self._run(medium.found, stages)
            verdict = await in_thread(self.workbench.pool, self._decide, medium, inference, stages)
        crops = crops_by_track(medium.found)
        boxes = {number: crops[number][0].box for number in crops}
        return verdict_arrays(verdict, boxes, [member.name for member in self.document.members])

    async def _analyze(self, medium: Medium, heatmaps: int, stages: Stages) -> bytes:
        inference = await self._run(medium.found, stages)
        return await in_thread(self.workbench.pool, self._answer, medium, inference, heatmaps, stages)

    async def _run(self, found: FacesFound, stages: Stages) -> Inference:
        """Run the members' networks over the crops, and their clip networks over the clips of what those gave."""
        if not found.crops:
            return Inference()
        pool, members = self.workbench.pool, self.document.members
        readings = await in_thread(pool, stages.timed, "preprocess", read_crops, members, found.crops)
        work = self.workbench.infer(readings.items, stages)
        readings = Readings(rows=readings.rows)  # what is queued holds the arrays until it is done
        outputs = await work
        tracks = positions_by_track(found.crops)
        clips = await in_thread(
            pool, stages.timed, "preprocess", cut_clips, self.document, readings, found.crops, outputs
        )
        clip_outputs = await self.workbench.infer(clips.items, stages, CLIP)
        return Inference(tracks, readings, outputs, clips, clip_outputs)

    def _decide(self, medium: Medium, inference: Inference, stages: Stages) -> FaceVerdict:
        members = [member.name for member in self.document.members]
        tracks = {number: {name: inference.scores(name, number) for name in members} for number in inference.tracks}
        return stages.timed("postprocess", decide_tracks, self.document, tracks, min_frames=medium.min_frames)

    def _answer(self, medium: Medium, inference: Inference, heatmaps: int, stages: Stages) -> bytes:
        verdict = self._decide(medium, inference, stages)
        fields = stages.timed("postprocess", verdict_document, verdict, medium.found)
        suspects = most_suspicious(verdict, medium.found, heatmaps)
        pictures = [
            document
            for suspect in suspects
            if (document := stages.timed("postprocess", self._heatmap, suspect, inference)) is not None
        ]
        timings = FaceTimings.model_validate(stages.finish())
        analysis = FaceAnalysis(
            **fields,
            heatmaps=pictures,
            video=medium.video,
            picture=medium.picture,
            bundle=self._identity,
            timings=timings,
        )
        self._observe(verdict, analysis, stages)
        return analysis.model_dump_json().encode()

    def _heatmap(self, suspect: Suspect, inference: Inference) -> HeatmapDocument | None:
        """Return where a face looks manipulated; None where no member that read it has a heatmap."""
        crop = suspect.crop
        maps: dict[str, NDArray[np.float32]] = {}
        for member in self.document.members:
            rows = inference.readings.rows_of(member.name, [suspect.position])
            if rows and HEATMAP in inference.outputs[member.name]:
                heat = inference.outputs[member.name][HEATMAP][rows[0], 0]
                maps[member.name] = heatmap_of(member, heat, crop.sample)
        joined = ensemble_heatmap(maps, self._weights)
        if joined is None:
            return None
        return HeatmapDocument(
            face=crop.track,
            frame=crop.frame,
            time=round(crop.time_ms / 1000, 6),
            probability=round(suspect.probability, 6),
            members=list(maps),
            picture=base64.b64encode(encode_png(lay_heat(crop.rgb, joined))).decode(),
        )

    def _observe(self, verdict: FaceVerdict, analysis: FaceAnalysis, stages: Stages) -> None:
        metrics = self.workbench.metrics
        metrics.observe_stages(stages.seconds)
        metrics.observe_outcome(verdict.outcome)
        metrics.observe_tally(FACES, len(analysis.faces))
        metrics.observe_tally(FRAMES_USED, analysis.frames_used)
        if verdict.probability is not None:
            metrics.observe_scores(verdict.probability, {one.name: one.probability for one in verdict.members})
