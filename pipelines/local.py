"""Running a pipeline on this machine, with the same steps and artifacts as on a cluster."""

import builtins
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kfp import local

from core.errors import VeriframeError
from core.processors import openmp_variables
from pipelines import containers, graph
from pipelines.resolution import ResolvedPipeline, load_pipeline

Runner = Literal["subprocess", "docker"]
REPOSITORY = Path(__file__).resolve().parent.parent


class RunFailedError(VeriframeError):
    """A local run stopped at a step that failed."""


@contextmanager
def _steps_environment() -> Iterator[None]:
    """Let step processes find this source and this interpreter, and put back what KFP leaves behind.

    KFP starts steps with ``python3`` or the running interpreter, and after a ParallelFor it can leave
    ``builtins.print`` replaced.
    """
    printer = builtins.print
    before = dict(os.environ)
    search = [str(REPOSITORY), before.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in search if part)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before.get("PATH", "")])
    os.environ.update(openmp_variables())  # before a step loads what has threads
    try:
        yield
    finally:
        builtins.print = printer
        os.environ.clear()
        os.environ.update(before)


def _for_this_machine(pipeline: ResolvedPipeline) -> ResolvedPipeline:
    """Leave out what only a cluster has: its shard cache, and retries, between which KFP would wait for minutes."""
    recipe = pipeline.recipe
    once = {name: step.model_copy(update={"retries": 0}) for name, step in recipe.resources}
    changed = {
        "resources": recipe.resources.model_copy(update=once),
        "cluster": recipe.cluster.model_copy(update={"cache_claim": ""}),
    }
    return replace(pipeline, recipe=recipe.model_copy(update=changed))


@contextmanager
def _runner(
    runner: Runner, artifacts: Path, source: str, store: str
) -> Iterator[local.SubprocessRunner | local.DockerRunner]:
    if runner == "subprocess":
        yield local.SubprocessRunner(use_venv=False)
    else:
        with containers.exit_statuses():
            yield containers.runner(artifacts, source, store, cache=artifacts.parent / "cache")


def run(
    name: str,
    recipe: str | None,
    source: str,
    workspace: Path,
    *,
    store: str | None = None,
    members: Sequence[str] = (),
    runner: Runner = "subprocess",
    overrides: Sequence[str] = (),
) -> Path:
    """Run a pipeline and return the folder of its artifacts, ``<workspace>/artifacts/<run>/<task>/<artifact>``.

    Args:
        name: a pipeline.
        recipe: a recipe's name or path; None takes the published one.
        source: folder or ``s3://`` prefix of the input.
        workspace: folder of this run's artifacts.
        store: where shards, training state and releases go; None takes ``<workspace>/store``.
        members: a subset of the recipe's members; empty for all.
        runner: ``subprocess`` needs nothing; ``docker`` needs the images of ``make images``.
        overrides: ``<dotted key>=<value>`` each, laid over the recipe.

    Raises:
        RunFailedError: when a step failed; its own output says why.
    """
    resolved = _for_this_machine(load_pipeline(name, recipe, overrides)).choose(members)
    artifacts = workspace.resolve() / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    known = set(artifacts.iterdir())
    source = source if "://" in source else str(Path(source).resolve())
    store = store or str(workspace.resolve() / "store")
    with _steps_environment(), _runner(runner, artifacts, source, store) as chosen:
        local.init(chosen, pipeline_root=str(artifacts), raise_on_error=True)
        pipeline = graph.pinned(resolved)
        try:
            pipeline(source=source, store=store, **graph.arguments(resolved))
        except RuntimeError as error:
            raise RunFailedError(f"pipeline {name} stopped: {error}; its artifacts so far are in {artifacts}") from None
    return max(set(artifacts.iterdir()) - known, key=lambda path: path.stat().st_mtime)
