"""Starting the processes of a run on this node with torchrun, and finding out whether that has been done."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import components
from components.train.errors import ProcessesFailedError
from components.train.recipe import TrainRecipe
from components.train.termination import EXIT_STATUS
from core.errors import SettingsError
from core.files import write_text
from core.processors import openmp_variables

# What torchrun, and whatever starts processes in its place, tells each of them.
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# What tells torchrun how many nodes there are, where Kubeflow Trainer starts a pod.
NODES = "PET_NNODES"
PER_NODE = "PET_NPROC_PER_NODE"


def is_launched() -> bool:
    """Return whether this process is one of the processes of a run already."""
    return all(name in os.environ for name in LAUNCHED)


def must_launch(recipe: TrainRecipe) -> bool:
    """Return whether this process has to start the training processes instead of being one of them."""
    return not is_launched() and (recipe.processes * recipe.nodes > 1 or NODES in os.environ)


def launch(recipe: TrainRecipe, arguments: Sequence[str]) -> None:
    """Run ``python -m components.train`` in this node's processes and wait for them.

    Where the environment has torchrun's ``PET_…`` variables, it decides on nodes, processes and where they meet. Else
    it is ``recipe.processes`` on this node alone. A SIGTERM is passed on to the processes; they save and end.

    Args:
        recipe: written to a file for them.
        arguments: of the command line, but for the recipe.

    Raises:
        SettingsError: when there are to be several nodes and nothing says where they meet.
        ProcessesFailedError: when one of the processes fails.
        SystemExit: with 143 after a SIGTERM, to this node or to another.
    """
    root = str(Path(components.__file__).parent.parent)
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    with tempfile.TemporaryDirectory(prefix="veriframe-recipe-") as folder:
        file = Path(folder) / "recipe.json"
        write_text(file, recipe.to_json())
        command = [sys.executable, "-m", "components.train.agent", *_rendezvous(recipe)]
        command += ["-m", "components.train", f"--recipe={file}", *arguments]
        count = os.environ.get(PER_NODE, "")
        variables = openmp_variables(int(count) if count.isdecimal() else recipe.processes) | {"PYTHONPATH": path}
        process = subprocess.Popen(command, env=os.environ | variables)
        try:
            status = process.wait()
        except SystemExit:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if status in (EXIT_STATUS, -signal.SIGTERM):
        raise SystemExit(EXIT_STATUS)
    if status:
        raise ProcessesFailedError(
            f"one of the training processes failed (status {status}); its error is above, or in the log of its node"
        )


def _rendezvous(recipe: TrainRecipe) -> list[str]:
    """Return what torchrun is told beyond its environment."""
    count = [] if PER_NODE in os.environ else [f"--nproc-per-node={recipe.processes}"]
    if NODES in os.environ:
        return count
    if recipe.nodes > 1:
        raise SettingsError(
            f"nodes = {recipe.nodes}: start the step on every node, with {NODES}, PET_NODE_RANK, PET_MASTER_ADDR and "
            "PET_MASTER_PORT in the environment or by torchrun (docs/operations.md), or set nodes: 1"
        )
    return ["--nnodes=1", *count, "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
