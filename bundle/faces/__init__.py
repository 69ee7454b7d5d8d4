"""Faces: what a bundle whose networks classify faces needs to become a verdict."""

from collections.abc import Mapping
from typing import Any

from bundle.analyzers import Analyzer, Workbench
from bundle.document import CLIP, MODEL, Bundle, BundleMember
from bundle.faces.analysis import analyze_faces, extraction_for_video, faces_to_cut
from bundle.faces.documents import SERVED
from bundle.faces.report import verdict_document
from bundle.faces.verdict import FaceDecision
from bundle.reading import VerifiedBundle
from bundle.runtimes import Networks
from bundle.task import BundleTask
from core.settings import Settings
from media.extraction import EvenFrames
from media.faces import FaceDetector, faces_of_picture, faces_of_video
from media.pictures import decode_picture
from media.tensors import TensorSpec
from media.video import looks_like_video

LOGIT = TensorSpec(datatype="FP32", shape=(1,))


class FacesTask(BundleTask):
    """Classifies the faces in a picture or a video."""

    name = "faces"
    decision = FaceDecision
    served = SERVED

    def check(self, bundle: Bundle) -> None:
        """Require that the bundle says how faces are cut out, and of every member a logit for each face."""
        faces_to_cut(bundle)
        for member in bundle.members:
            _check_member(member)

    def analyze_file(
        self, bundle: Bundle, networks: Mapping[str, Networks], data: bytes, options: Settings
    ) -> dict[str, Any]:
        """Analyze a picture or video file."""
        del options
        faces = faces_to_cut(bundle)
        detector = FaceDetector(faces.detector)
        if looks_like_video(data):
            found = faces_of_video(data, extraction_for_video(bundle, EvenFrames().count), detector)
        else:
            found = faces_of_picture(decode_picture(data), faces, detector)
        return verdict_document(analyze_faces(found, bundle, networks), found)

    def analyzer(self, bundle: VerifiedBundle, workbench: Workbench) -> Analyzer[Any]:
        """Build what analyzes pictures and videos for a server."""
        from bundle.faces.analyzer import FaceAnalyzer  # a document is read without it

        return FaceAnalyzer(bundle, workbench)


def _check_member(member: BundleMember) -> None:
    unknown = set(member.networks) - {MODEL, CLIP}
    if unknown:
        raise ValueError(f"member {member.name}: networks that classify faces are {MODEL} and {CLIP}, not {unknown}")
    for name, network in member.networks.items():
        if network.outputs["logits"] != LOGIT:
            raise ValueError(f"member {member.name}: the logits of {name} must be FP32 [1], one for each item")
    if CLIP in member.networks:
        vectors = member.model.outputs["vectors"]
        inputs = {
            "vectors": TensorSpec(datatype="FP32", shape=(member.input.frames, *vectors.shape)),
            "lengths": TensorSpec(datatype="INT64"),
        }
        if member.networks[CLIP].inputs != inputs:
            raise ValueError(f"member {member.name}: the inputs of {CLIP} must be {', '.join(inputs)} of its clips")


TASK = FacesTask()
