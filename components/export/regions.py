"""Exporting networks that mark regions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bundle import Format, Run, VerifiedBundle, member_path, open_runtime
from bundle.regions.analysis import stack_tiles, tile_views
from components.export.fitting import Fitted, fit
from components.export.formats import Exported, example_pixels, write_onnx, write_torchscript
from components.export.parity import Parity, Say, compare, threshold_logit
from components.export.task import Job, describe_file
from data.datasets import load_sample
from data.index import SampleIndex
from data.shards import ShardReader
from judging.predict import Member
from media.spec import InputSpec
from models.inputs import Normalize


class RegionsExport:
    """The export of a job whose networks mark regions."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._eager: dict[str, Run] = {}

    def fit(self) -> Fitted:
        """Choose on whole pictures of val."""
        members = [Member(name, loaded.network, loaded.spec.input) for name, loaded in self._job.networks.items()]
        return fit(members, self._job.val, self._job.reader, self._job.recipe)

    def write(self, name: str, folder: Path) -> Mapping[str, Any]:
        """Write one network in every format."""
        loaded, recipe, metadata = self._job.networks[name], self._job.recipe, self._job.metadata(name)
        spec = loaded.spec.input
        network = Exported(Normalize.from_spec(spec), loaded.network.cpu()).eval()
        pixels = example_pixels(spec.channels, spec.size)
        for kind in recipe.formats:
            path = folder / member_path(name, kind)
            if kind == "torchscript":
                write_torchscript(network, pixels, path, metadata)
            else:
                write_onnx(network, pixels, path, metadata, recipe.opset)
        self._eager[name] = _runner(network)
        return {"files": {kind: describe_file(folder, member_path(name, kind)) for kind in recipe.formats}}

    def prove(self, opened: VerifiedBundle) -> list[Parity]:
        """Compare on tiles of val."""
        recipe = self._job.recipe
        runs = {kind: open_runtime(opened, kind) for kind in recipe.formats}
        results = []
        for member in opened.document.members:
            count = max(recipe.parity.batch_sizes)
            pixels = sample_tiles(self._job.val, self._job.reader, member.input, count)
            cut = threshold_logit(member.operating_point.threshold, member.temperature)
            exported: dict[Format, Say] = {kind: _say(runs[kind][member.name], pixels) for kind in recipe.formats}
            eager = _say(self._eager[member.name], pixels)
            results += compare(member.name, eager, exported, recipe.parity, cut)
        return results


def _say(run: Run, pixels: NDArray[np.uint8]) -> Say:
    return lambda count: {"logits": run(pixels[:count])}


def _runner(network: torch.nn.Module) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)).numpy(), dtype=np.float32)

    return run


def sample_tiles(val: SampleIndex, reader: ShardReader, spec: InputSpec, count: int) -> NDArray[np.uint8]:
    """Return ``count`` tiles uint8 [count, C, S, S] of pictures spread evenly over val."""
    rows = np.linspace(0, len(val) - 1, count).round().astype(int)
    chosen = []
    for number, row in enumerate(val.table.take(rows).to_pylist()):
        views, _ = tile_views(load_sample(row, reader)[0], spec)
        chosen.append(views[number % len(views)])
    return stack_tiles(chosen)
