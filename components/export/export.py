"""The export: fit on val, write every member in every format, prove parity, and only then let a bundle appear."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from components.export.card import CardFacts, render_card
from components.export.fitting import Fitted, fit
from components.export.formats import Exported, example_pixels, write_onnx, write_torchscript
from components.export.parity import Parity, compare, require_parity, threshold_logit
from components.export.recipe import ExportRecipe
from components.judging.evaluation import read_evaluation
from components.judging.members import load_model
from components.judging.operating_point import Choice
from components.judging.predict import ENSEMBLE, Member
from components.revision import git_sha
from media.bundle import (
    BUNDLE_FILE,
    CARD_FILE,
    Bundle,
    BundleFile,
    BundleMember,
    Format,
    Run,
    VerifiedBundle,
    member_path,
    open_runtime,
    read_bundle,
)
from media.bundle.judging import stack_tiles, tile_views
from media.bundle.runtimes import member_metadata
from media.datasets import load_sample
from media.errors import BadInputError, SettingsError, StorageError
from media.files import write_bytes
from media.index import SampleIndex, read_index
from media.shards import ShardReader
from media.spec import InputSpec, require_same_extraction
from media.storage import open_store
from models.checkpoint import LoadedNetwork
from models.inputs import Normalize

DRAFT = "draft"  # stands for the version until the content is known


@dataclass(frozen=True)
class ExportSummary:
    """What was written: the bundle's folder, its identity, and what was chosen and compared."""

    folder: Path
    bundle: Bundle
    sha256: str
    choice: Choice
    parity: Sequence[Parity]


def export(
    dataset: Path,
    models: Sequence[Path],
    output: Path,
    recipe: ExportRecipe,
    *,
    evaluation: Path | None = None,
    cache: Path | None = None,
) -> ExportSummary:
    """Write a bundle.

    Everything that is chosen is chosen on the val split of ``dataset``. ``output`` appears whole, after the parity
    gate, or stays as it was.

    Args:
        dataset: index folder with a val split of both classes.
        models: folders that the training step wrote, or checkpoint files; one a member.
        output: the bundle's folder; a bundle that is there is replaced.
        recipe: what to write and what to tolerate.
        evaluation: folder of an evaluation whose figures the model card shows.
        cache: folder for fetched shards.

    Raises:
        ParityError: when an exported network does not follow the trained one.
        SplitLeakError, BadInputError, MismatchError, SettingsError, StorageError: as the message says.
    """
    index = read_index(dataset)
    val = index.where(split="val")
    networks = _load(models, index, dataset, recipe.judging.torch_device())
    reader = ShardReader(index.shards, cache)
    members = [Member(name, loaded.network, loaded.spec.input) for name, loaded in networks.items()]
    fitted = fit(members, val, reader, recipe)
    judged = read_evaluation(evaluation, recipe.evaluation_group) if evaluation else None
    with _replacing(output) as folder:
        eager = _write_networks(networks, folder, recipe)
        draft = _describe(networks, fitted, folder, recipe, index)
        parity = _prove(draft, eager, folder, val, reader, recipe)
        facts = CardFacts(recipe, index, fitted.choices[ENSEMBLE], fitted.weights.note, parity, judged)
        bundle = _finish(draft, facts, folder)
    written = read_bundle(output)
    return ExportSummary(output, bundle, written.sha256, fitted.choices[ENSEMBLE], parity)


def _load(models: Sequence[Path], index: SampleIndex, dataset: Path, device: torch.device) -> dict[str, LoadedNetwork]:
    networks: dict[str, LoadedNetwork] = {}
    for path in models:
        loaded = load_model(path, device)
        if loaded.family.task != "segmentation":
            raise BadInputError("wrong-task", f"{path} is of family {loaded.family.name}, which marks no regions")
        require_same_extraction(loaded.spec, str(path), index.spec, str(dataset))
        if loaded.member in networks:
            raise SettingsError(f"{path} is a second model of the member {loaded.member!r}; give one of each")
        networks[loaded.member] = loaded
    if not networks:
        raise SettingsError("an export needs at least one model")
    return networks


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Yield a fresh folder beside ``output`` that takes its place at the end, if nothing was raised."""
    if output.exists() and not (output / BUNDLE_FILE).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise StorageError(f"{output} exists and is no bundle; choose another place or remove it")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise StorageError(f"cannot write beside {output}: {error.strerror}; choose another place") from error
    replaced = folder.with_name(f"{folder.name}.old")
    try:
        yield folder
        folder.chmod(0o755)
        if output.exists():
            output.rename(replaced)
        folder.rename(output)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _metadata(loaded: LoadedNetwork, recipe: ExportRecipe) -> str:
    labels = loaded.family.class_names
    return member_metadata(recipe.name, loaded.member, labels, loaded.spec.input.to_json(), loaded.checkpoint_sha256)


def _write_networks(networks: Mapping[str, LoadedNetwork], folder: Path, recipe: ExportRecipe) -> dict[str, Run]:
    """Write every member in every format and return the eager networks to compare with."""
    eager = {}
    for name, loaded in networks.items():
        spec = loaded.spec.input
        network = Exported(Normalize.from_spec(spec), loaded.network.cpu()).eval()
        pixels = example_pixels(spec.channels, spec.size)
        for kind in recipe.formats:
            path = folder / member_path(name, kind)
            if kind == "torchscript":
                write_torchscript(network, pixels, path, _metadata(loaded, recipe))
            else:
                write_onnx(network, pixels, path, _metadata(loaded, recipe), recipe.opset)
        eager[name] = _runner(network)
    return eager


def _runner(network: torch.nn.Module) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)).numpy(), dtype=np.float32)

    return run


def _file(folder: Path, path: str) -> BundleFile:
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _figures(choice: Choice) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(value, 6) for name, value in choice.figures.items()}


def _describe(
    networks: Mapping[str, LoadedNetwork], fitted: Fitted, folder: Path, recipe: ExportRecipe, index: SampleIndex
) -> Bundle:
    """Return the bundle's document without its final version and card."""
    members = tuple(
        BundleMember(
            name=name,
            family=loaded.family.name,
            labels=loaded.family.class_names,
            input=loaded.spec.input,
            weight=fitted.weights.weights[name],
            temperature=fitted.temperatures[name],
            operating_point=fitted.choices[name].point,
            metrics=_figures(fitted.choices[name]),
            checkpoint_sha256=loaded.checkpoint_sha256,
            files={kind: _file(folder, member_path(name, kind)) for kind in recipe.formats},
        )
        for name, loaded in networks.items()
    )
    return Bundle(
        name=recipe.name,
        version=DRAFT,
        labels=members[0].labels,
        operating_point=fitted.choices[ENSEMBLE].point,
        extraction=index.spec.extraction,
        members=members,
        metrics=_figures(fitted.choices[ENSEMBLE]),
        card=BundleFile(path=CARD_FILE, sha256="0" * 64, size=0),
        dataset_sha256=index.sha256,
        git_sha=git_sha(),
        made_with={"torch": torch.__version__, "onnx": onnx.__version__},
    )


def _prove(
    bundle: Bundle, eager: Mapping[str, Run], folder: Path, val: SampleIndex, reader: ShardReader, recipe: ExportRecipe
) -> list[Parity]:
    """Open the very files through the runtimes that serve them and compare on tiles of val."""
    opened = VerifiedBundle(bundle, hashlib.sha256(bundle.to_document()).hexdigest(), open_store(str(folder)))
    runs = {kind: open_runtime(opened, kind) for kind in recipe.formats}
    results = []
    for member in bundle.members:
        pixels = sample_tiles(val, reader, member.input, max(recipe.parity.batch_sizes))
        cut = threshold_logit(member.operating_point.threshold, member.temperature)
        exported: dict[Format, Run] = {kind: runs[kind][member.name] for kind in recipe.formats}
        results += compare(member.name, eager[member.name], exported, pixels, recipe.parity, cut)
    require_parity(results, recipe.parity)
    return results


def sample_tiles(val: SampleIndex, reader: ShardReader, spec: InputSpec, count: int) -> NDArray[np.uint8]:
    """Return ``count`` tiles uint8 [count, C, S, S] of pictures spread evenly over val."""
    rows = np.linspace(0, len(val) - 1, count).round().astype(int)
    chosen = []
    for number, row in enumerate(val.table.take(rows).to_pylist()):
        views, _ = tile_views(load_sample(row, reader)[0], spec)
        chosen.append(views[number % len(views)])
    return stack_tiles(chosen)


def _finish(draft: Bundle, facts: CardFacts, folder: Path) -> Bundle:
    """Derive the version if the recipe gives none, write card and document."""
    version = facts.recipe.version
    if version is None:
        # The version may not depend on itself: the content is hashed as a draft.
        content = hashlib.sha256(draft.to_document() + render_card(draft, facts).encode()).hexdigest()
        version = f"{draft.git_sha[:8]}-{content[:12]}"
    named = draft.model_copy(update={"version": version})
    write_bytes(folder / CARD_FILE, render_card(named, facts).encode())
    bundle = named.model_copy(update={"card": _file(folder, CARD_FILE)})
    write_bytes(folder / BUNDLE_FILE, bundle.to_document())
    return bundle
