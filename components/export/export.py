"""The export: fit on val, write every member in every format, prove parity, and only then let a bundle appear."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from bundle.document import BUNDLE_FILE, CARD_FILE, Bundle, BundleFile, BundleMember, ExportedNetwork
from bundle.reading import VerifiedBundle, read_bundle
from bundle.runtimes import open_networks
from components.export.card import CardFacts, render_card
from components.export.formats import Exported
from components.export.int8 import add_int8
from components.export.networks import describe_file, eager_run, take_apart, write_member
from components.export.parity import Parity, compare, require_parity
from core.errors import MismatchError, SettingsError, StorageError
from core.files import write_bytes
from core.revision import git_sha
from core.settings import validate
from core.storage import open_store
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from judging.choice import Choice
from judging.members import load_model
from media.spec import require_suitable
from models.checkpoint import LoadedNetwork
from tasks.task import ENSEMBLE, TASKS, ExportJob, Fitted, Task

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
    recipe: Mapping[str, Any],
    *,
    cache: Path | None = None,
) -> ExportSummary:
    """Write a bundle.

    Everything that is chosen is chosen on the val split of ``dataset``. ``output`` appears whole, after the parity
    gate, or stays as it was.

    Args:
        dataset: index folder with a val split of every class.
        models: folders that the training step wrote, or checkpoint files; one a member.
        output: the bundle's folder; a bundle that is there is replaced.
        recipe: what to write and what to tolerate: keys of the ``export_settings`` of the models' task.
        cache: folder for fetched shards.

    Raises:
        ParityError: when an exported network does not follow the trained one.
        SplitLeakError, BadInputError, MismatchError, SettingsError, StorageError: as the message says.
    """
    index = read_index(dataset)
    networks = _load(models, index, dataset)
    task = TASKS.get(next(iter(networks.values())).family.task)
    settings = validate(task.export_settings, recipe, "export recipe")
    device = settings.inference.torch_device()
    for loaded in networks.values():
        loaded.network.to(device)
    job = ExportJob(networks, index.where(split="val"), ShardReader(index.shards, cache), settings)
    fitted = task.fit(job)
    with _replacing(output) as folder:
        parts = {name: take_apart(loaded.network, loaded.spec.input) for name, loaded in networks.items()}
        draft = _describe(job, fitted, {name: _write(job, name, parts[name], folder) for name in networks}, index)
        parity = _prove(draft, folder, task, job, parts)
        draft = add_int8(draft, folder, task, job)
        facts = CardFacts(task.card, settings, index, fitted.choices[ENSEMBLE], fitted.weights.note, parity)
        bundle = _finish(draft, facts, folder)
    written = read_bundle(output)
    return ExportSummary(output, bundle, written.sha256, fitted.choices[ENSEMBLE], parity)


def _load(models: Sequence[Path], index: SampleIndex, dataset: Path) -> dict[str, LoadedNetwork]:
    """Return the members of one task and of the same classes, on the CPU."""
    networks: dict[str, LoadedNetwork] = {}
    for path in models:
        loaded = load_model(path, "cpu")
        require_suitable(loaded.spec.input, f"model {path}", index.spec.extraction, str(dataset))
        if loaded.member in networks:
            raise SettingsError(f"{path} is a second model of the member {loaded.member!r}; give one of each")
        networks[loaded.member] = loaded
    if not networks:
        raise SettingsError("an export needs at least one model")
    _require_same("task", {name: loaded.family.task for name, loaded in networks.items()})
    _require_same("classes", {name: ", ".join(loaded.classes) for name, loaded in networks.items()})
    return networks


def _require_same(what: str, values: Mapping[str, str]) -> None:
    if len(set(values.values())) > 1:
        found = "; ".join(f"{name}: {value}" for name, value in values.items())
        raise MismatchError(f"the members of a bundle must have the same {what}; {found}")


def _write(job: ExportJob, name: str, parts: Mapping[str, Exported], folder: Path) -> dict[str, ExportedNetwork]:
    loaded, settings = job.networks[name], job.settings
    return write_member(
        parts,
        folder,
        name,
        bundle=settings.name,
        classes=loaded.classes,
        input_spec=loaded.spec.input,
        checkpoint=loaded.checkpoint_sha256,
        formats=settings.formats,
        opset=settings.opset,
    )


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


def _figures(choice: Choice) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else round(value, 6) for name, value in choice.figures.items()}


def _describe(
    job: ExportJob, fitted: Fitted, written: Mapping[str, dict[str, ExportedNetwork]], index: SampleIndex
) -> Bundle:
    """Return the bundle's document without its final version and card."""
    members = tuple(
        BundleMember(
            name=name,
            family=loaded.family.name,
            input=loaded.spec.input,
            weight=fitted.weights.weights[name],
            temperature=fitted.temperatures[name],
            decision=fitted.choices[name].decision,
            metrics=_figures(fitted.choices[name]),
            checkpoint_sha256=loaded.checkpoint_sha256,
            networks=written[name],
        )
        for name, loaded in job.networks.items()
    )
    first = next(iter(job.networks.values()))
    return Bundle(
        name=job.settings.name,
        version=DRAFT,
        task=first.family.task,
        classes=first.classes,
        decision=fitted.choices[ENSEMBLE].decision,
        extraction=index.spec.extraction,
        members=members,
        metrics=_figures(fitted.choices[ENSEMBLE]),
        card=BundleFile(path=CARD_FILE, sha256="0" * 64, size=0),
        dataset_sha256=index.sha256,
        git_sha=git_sha(),
        made_with={"torch": torch.__version__, "onnx": onnx.__version__},
    )


def _prove(
    draft: Bundle, folder: Path, task: Task, job: ExportJob, parts: Mapping[str, Mapping[str, Exported]]
) -> list[Parity]:
    """Open the very files through the runtimes that serve them, and compare them with the trained networks."""
    opened = VerifiedBundle(draft, hashlib.sha256(draft.to_document()).hexdigest(), open_store(str(folder)))
    settings = job.settings.parity
    exported = {kind: open_networks(opened, kind) for kind in job.settings.formats}
    results: list[Parity] = []
    for member in draft.members:
        probe = task.probe(job, member.name, member.decision, max(settings.batch_sizes))
        eager = {name: eager_run(network) for name, network in parts[member.name].items()}
        own = {kind: networks[member.name] for kind, networks in exported.items()}
        results += compare(member.name, probe, eager, own, settings, member.temperature)
    require_parity(results, settings)
    return results


def _finish(draft: Bundle, facts: CardFacts, folder: Path) -> Bundle:
    """Derive the version if the recipe gives none, write card and document."""
    version = facts.settings.version
    if version is None:
        # The version may not depend on itself: the content is hashed as a draft.
        content = hashlib.sha256(draft.to_document() + render_card(draft, facts).encode()).hexdigest()
        version = f"{draft.git_sha[:8]}-{content[:12]}"
    named = draft.model_copy(update={"version": version})
    write_bytes(folder / CARD_FILE, render_card(named, facts).encode())
    bundle = named.model_copy(update={"card": describe_file(folder, CARD_FILE)})
    write_bytes(folder / BUNDLE_FILE, bundle.to_document())
    return bundle
