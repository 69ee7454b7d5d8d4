"""The machine a run finds: its device, its seeds, and how strict it is about determinism."""

import os
import random

import numpy as np
import torch

from components.train.recipe import TrainRecipe
from core.errors import SettingsError


def choose_device(requested: str, local_rank: int) -> torch.device:
    """Return the device of this process.

    Args:
        requested: a recipe's ``device``; ``auto`` is a GPU where there is one.
        local_rank: this process among those of the machine; the GPU of that number is its own.

    Raises:
        SettingsError: when a GPU is asked for, or needed by this process, and there is none.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if requested == "cpu" or (requested == "auto" and count == 0):
        return torch.device("cpu")
    if local_rank >= count:
        raise SettingsError(f"device = {requested!r}: process {local_rank + 1} finds {count} GPU(s); lower processes")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def prepare(recipe: TrainRecipe, rank: int) -> None:
    """Seed all generators, and set what the recipe says of determinism."""
    seed_generators(recipe.seed, rank)
    torch.use_deterministic_algorithms(recipe.deterministic)
    # Autotuning picks kernels by their speed, which is not the same twice.
    torch.backends.cudnn.benchmark = not recipe.deterministic
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it


def seed_generators(*numbers: int) -> None:
    """Seed all generators from the numbers together: the recipe's seed, the rank, what else is to tell draws apart."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
