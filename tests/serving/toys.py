"""Bundles that are documents alone, with functions for networks: for tests that need neither files nor transport."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import Analyzer, Outputs
from bundle.document import CLIP, MODEL, Bundle, BundleFile, BundleMember, ExportedNetwork, Format
from bundle.reading import VerifiedBundle
from bundle.runtimes import Run
from bundle.task import BUNDLE_TASKS
from core.settings import Settings
from media.extraction import ExtractionSpec
from media.spec import InputSpec
from media.tensors import TensorSpec
from serving.batcher import Batcher, Lane, NetworkName
from serving.metrics import Metrics
from serving.settings import ServerSettings
from serving.workbench import ServerWorkbench

LOGITS = {"logits": TensorSpec(datatype="FP32", shape=(1,))}
SHA256 = "0" * 64
# An optional view that tests put into a folder of extensions: it shows nothing of dark pictures.
GLINT = '''
from typing import ClassVar

import numpy as np

from media.pixel_view import Cropped, PixelView


class GlintView(PixelView):
    """The mean colour of a bright crop."""

    name: ClassVar[str] = "glint"
    optional: ClassVar[bool] = True

    def crop(self, sample):
        """Show nothing of a dark one."""
        return Cropped(sample.rgb) if sample.rgb.mean() >= 100 else None

    def fit(self, planes):
        """Return the mean everywhere."""
        mean = planes.mean(axis=(0, 1), keepdims=True).astype(planes.dtype)
        return np.broadcast_to(mean, (self.size, self.size, planes.shape[2])).copy()


VIEW = GlintView
'''


def write_glint(folder: Path) -> Path:
    """Write the view ``glint`` where the registry finds it once ``VERIFRAME_EXTENSIONS`` names the folder."""
    module = folder / "media" / "views" / "glint.py"
    module.parent.mkdir(parents=True)
    module.write_text(GLINT)
    return folder


def verified(
    task: str,
    decision: Settings,
    inputs: Mapping[str, InputSpec],
    outputs: Mapping[str, TensorSpec] = LOGITS,
    extraction: ExtractionSpec | None = None,
    vectors: int | None = None,
) -> VerifiedBundle:
    """Describe a bundle of members of equal weight, without its files.

    Where ``vectors`` says how wide they are, each member has a network of clips too.
    """

    def file(path: str) -> BundleFile:
        return BundleFile(path=path, sha256=SHA256, size=0)

    def networks(name: str, spec: InputSpec) -> dict[str, ExportedNetwork]:
        def files(network: str) -> dict[Format, BundleFile]:
            return {"onnx": file(f"{name}/{network}.onnx")}

        given = {} if vectors is None else {"vectors": TensorSpec(datatype="FP32", shape=(vectors,))}
        found = {MODEL: ExportedNetwork(inputs=spec.signature, outputs={**outputs, **given}, files=files(MODEL))}
        if vectors is not None:
            read = {
                "vectors": TensorSpec(datatype="FP32", shape=(spec.frames, vectors)),
                "lengths": TensorSpec(datatype="INT64"),
            }
            found[CLIP] = ExportedNetwork(inputs=read, outputs=LOGITS, files=files(CLIP))
        return found

    members = tuple(
        BundleMember(
            name=name,
            family="toy",
            input=spec,
            weight=1 / len(inputs),
            temperature=1.0,
            decision=decision,
            checkpoint_sha256=SHA256,
            networks=networks(name, spec),
        )
        for name, spec in inputs.items()
    )
    document = Bundle(
        name="toy",
        version="7",
        task=task,
        classes=("authentic", "manipulated"),
        decision=decision,
        extraction=extraction or ExtractionSpec(),
        members=members,
        card=file("card.md"),
        dataset_sha256=SHA256,
        git_sha="unknown",
    )
    return cast(VerifiedBundle, SimpleNamespace(document=document, sha256=SHA256))


def workbench(runs: Mapping[str, Run], clips: Mapping[str, Run] | None = None, **limits: Any) -> ServerWorkbench:
    """Lend an analyzer everything but a server; the networks ``model`` and ``clip`` are these functions, by member."""
    settings = ServerSettings.model_validate({"bundle": "toy", **limits})
    metrics = Metrics((BUNDLE_TASKS.get(name).served for name in BUNDLE_TASKS.names()), settings.time_limits)
    lanes = {NetworkName(member): Lane(run, max_batch=4) for member, run in runs.items()}
    lanes |= {NetworkName(member, CLIP): Lane(run, max_batch=4) for member, run in (clips or {}).items()}
    return ServerWorkbench(settings, metrics, ThreadPoolExecutor(1), ThreadPoolExecutor(1), Batcher(lanes))


def mean_of(*views: str) -> Run:
    """Return a network whose logit is the mean of its views' values / 64 - 2, and counts nothing that is absent."""

    def run(inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        means = []
        for view in views:
            present = inputs.get(f"{view}_present", np.ones(len(inputs[view]), dtype=np.bool_))
            means.append(inputs[view].mean(axis=(1, 2, 3)) * present)
        return {"logits": (np.sum(means, axis=0) / 64 - 2).astype(np.float32)[:, None]}

    return run


def analyzer(bundle: VerifiedBundle, bench: ServerWorkbench) -> Analyzer:
    """Build what the bundle's task analyzes media with."""
    return BUNDLE_TASKS.get(bundle.document.task).analyzer(bundle, bench)
