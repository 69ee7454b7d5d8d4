"""The export: fit on val, write every member in every format, prove parity, and only then let a bundle appear."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from bundle import BUNDLE_FILE, CARD_FILE, Bundle, BundleFile, BundleMember, VerifiedBundle, read_bundle
from components.export.card import CardFacts, render_card
from components.export.faces import FacesExport
from components.export.fitting import Fitted
from components.export.parity import Parity, require_parity
from components.export.recipe import ExportRecipe, ParitySettings
from components.export.regions import RegionsExport
from components.export.task import Job, TaskExport, describe_file
from core.errors import BadInputError, SettingsError, StorageError
from core.files import write_bytes
from core.revision import git_sha
from core.storage import open_store
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from judging.evaluation import read_evaluation
from judging.members import load_model
from judging.operating_point import Choice
from judging.predict import ENSEMBLE
from media.spec import require_same_extraction
from models.checkpoint import LoadedNetwork
from models.family import Task

EXPORTERS: dict[Task, Callable[[Job], TaskExport]] = {"segmentation": RegionsExport, "classification": FacesExport}
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
    networks, task = _load(models, index, dataset, recipe.judging.torch_device())
    job = Job(networks, index.where(split="val"), ShardReader(index.shards, cache), recipe)
    exporter = EXPORTERS[task](job)
    fitted = exporter.fit()
    judged = read_evaluation(evaluation, recipe.evaluation_group) if evaluation else None
    with _replacing(output) as folder:
        files = {name: exporter.write(name, folder) for name in networks}
        draft = _describe(job, fitted, files, index, task)
        parity = _prove(draft, folder, exporter, recipe.parity)
        facts = CardFacts(recipe, index, fitted.choices[ENSEMBLE], fitted.weights.note, parity, judged)
        bundle = _finish(draft, facts, folder)
    written = read_bundle(output)
    return ExportSummary(output, bundle, written.sha256, fitted.choices[ENSEMBLE], parity)


def _load(
    models: Sequence[Path], index: SampleIndex, dataset: Path, device: torch.device
) -> tuple[dict[str, LoadedNetwork], Task]:
    networks: dict[str, LoadedNetwork] = {}
    tasks: dict[Task, str] = {}
    for path in models:
        loaded = load_model(path, device)
        tasks.setdefault(loaded.family.task, loaded.member)
        require_same_extraction(loaded.spec, str(path), index.spec, str(dataset))
        if loaded.member in networks:
            raise SettingsError(f"{path} is a second model of the member {loaded.member!r}; give one of each")
        networks[loaded.member] = loaded
    if not networks:
        raise SettingsError("an export needs at least one model")
    if len(tasks) > 1:
        found = " and ".join(f"{task} ({member})" for task, member in tasks.items())
        raise BadInputError("wrong-task", f"the members of a bundle must be of one task, these are of {found}")
    (task,) = tasks
    if task == "classification" and index.spec.extraction.faces is None:
        raise BadInputError(
            "wrong-task", f"{dataset} holds whole pictures; classifiers are exported on faces: extract it with `faces`"
        )
    return networks, task


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
    job: Job, fitted: Fitted, files: Mapping[str, Mapping[str, Any]], index: SampleIndex, task: Task
) -> Bundle:
    """Return the bundle's document without its final version and card."""
    members = tuple(
        BundleMember(
            name=name,
            family=loaded.family.name,
            task=task,
            labels=loaded.family.class_names,
            input=loaded.spec.input,
            weight=fitted.weights.weights[name],
            temperature=fitted.temperatures[name],
            operating_point=fitted.choices[name].point,
            metrics=_figures(fitted.choices[name]),
            checkpoint_sha256=loaded.checkpoint_sha256,
            **files[name],
        )
        for name, loaded in job.networks.items()
    )
    return Bundle(
        name=job.recipe.name,
        version=DRAFT,
        task=task,
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


def _prove(draft: Bundle, folder: Path, exporter: TaskExport, settings: ParitySettings) -> list[Parity]:
    """Hold the files in a folder against the trained networks."""
    opened = VerifiedBundle(draft, hashlib.sha256(draft.to_document()).hexdigest(), open_store(str(folder)))
    results = exporter.prove(opened)
    require_parity(results, settings)
    return results


def _finish(draft: Bundle, facts: CardFacts, folder: Path) -> Bundle:
    """Derive the version if the recipe gives none, write card and document."""
    version = facts.recipe.version
    if version is None:
        # The version may not depend on itself: the content is hashed as a draft.
        content = hashlib.sha256(draft.to_document() + render_card(draft, facts).encode()).hexdigest()
        version = f"{draft.git_sha[:8]}-{content[:12]}"
    named = draft.model_copy(update={"version": version})
    write_bytes(folder / CARD_FILE, render_card(named, facts).encode())
    bundle = named.model_copy(update={"card": describe_file(folder, CARD_FILE)})
    write_bytes(folder / BUNDLE_FILE, bundle.to_document())
    return bundle
