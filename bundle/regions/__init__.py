"""Regions: what a bundle whose networks mark regions of a picture needs to become a verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.analyzers import Analyzer, Workbench
from bundle.document import MODEL, Bundle
from bundle.reading import VerifiedBundle
from bundle.regions.analysis import analyze_picture, tiles_view
from bundle.regions.documents import SERVED
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import Networks
from bundle.task import BundleTask
from core.files import write_bytes
from core.settings import Settings
from media.pictures import decode_picture, encode_png
from media.tensors import TensorSpec


class RegionsFileOptions(Settings):
    """What the command line may ask."""

    mask: Path | None = None
    """Write the forged pixels to this PNG; where the bundle marks regions."""


class RegionsTask(BundleTask):
    """Marks the forged pixels of a picture."""

    name = "regions"
    decision = OperatingPoint
    served = SERVED
    file_options = RegionsFileOptions

    def check(self, bundle: Bundle) -> None:
        """Require of every member one network, from tiles to a logit for each of their pixels."""
        for member in bundle.members:
            size = tiles_view(member.input).size
            if set(member.networks) != {MODEL}:
                raise ValueError(f"member {member.name}: networks that mark regions have only the network {MODEL}")
            if member.model.outputs != {"logits": TensorSpec(datatype="FP32", shape=(1, size, size))}:
                raise ValueError(f"member {member.name}: outputs must be logits FP32 [1, {size}, {size}] alone")

    def analyze_file(
        self, bundle: Bundle, networks: Mapping[str, Networks], data: bytes, options: Settings
    ) -> dict[str, Any]:
        """Analyze a picture file."""
        assert isinstance(options, RegionsFileOptions)  # noqa: S101 - whoever calls looks up ``file_options``
        verdict = analyze_picture(decode_picture(data), bundle, networks)
        if options.mask is not None:
            write_bytes(options.mask, encode_png(verdict.verdict.mask))
        return verdict.to_document()

    def analyzer(self, bundle: VerifiedBundle, workbench: Workbench) -> Analyzer[Any]:
        """Build what analyzes pictures for a server."""
        from bundle.regions.analyzer import PictureAnalyzer  # a document is read without it

        return PictureAnalyzer(bundle, workbench)


TASK = RegionsTask()
