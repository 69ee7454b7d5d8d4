"""Regions: what a bundle whose networks mark regions of a picture needs to become a verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.document import MODEL, Bundle
from bundle.reading import VerifiedBundle
from bundle.regions.analysis import analyze_picture, tiles_view
from bundle.regions.documents import SERVED
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import Networks
from bundle.serving import Analyzer, Workbench
from bundle.task import BundleTask
from core.files import write_bytes
from media.pictures import decode_picture, encode_png
from media.tensors import TensorSpec


class RegionsTask(BundleTask):
    """Marks the forged pixels of a picture."""

    name = "regions"
    decision = OperatingPoint
    served = SERVED

    def check(self, bundle: Bundle) -> None:
        """Require of every member one network, from tiles to a logit for each of their pixels."""
        for member in bundle.members:
            size = tiles_view(member.input).size
            if set(member.networks) != {MODEL}:
                raise ValueError(f"member {member.name}: networks that mark regions have only the network {MODEL}")
            if member.model.outputs != {"logits": TensorSpec(datatype="FP32", shape=(1, size, size))}:
                raise ValueError(f"member {member.name}: outputs must be logits FP32 [1, {size}, {size}] alone")

    def analyze_file(
        self, bundle: Bundle, networks: Mapping[str, Networks], data: bytes, *, mask: Path | None
    ) -> dict[str, Any]:
        """Analyze a picture file; ``mask`` gets the forged pixels as PNG."""
        verdict = analyze_picture(decode_picture(data), bundle, networks)
        if mask is not None:
            write_bytes(mask, encode_png(verdict.verdict.mask))
        return verdict.to_document()

    def analyzer(self, bundle: VerifiedBundle, workbench: Workbench) -> Analyzer:
        """Build what analyzes pictures for a server."""
        from bundle.regions.analyzer import PictureAnalyzer  # a document is read without it

        return PictureAnalyzer(bundle, workbench)


TASK = RegionsTask()
