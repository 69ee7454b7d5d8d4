"""What a person can do about a device with too little memory: the recipe keys that decide, with their values."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from components.train.errors import DeviceMemoryError
from components.train.recipe import TrainRecipe
from judging.running import MemoryExhaustedError


@contextmanager
def naming_keys(recipe: TrainRecipe, device: torch.device, precision: str, processes: int | None) -> Iterator[None]:
    """Turn an exhausted memory inside into an error that names the keys to lower.

    Args:
        recipe: the run's.
        device: that is used.
        precision: that the forward pass runs in.
        processes: that share a batch; None in validation, where each has batches of its own.

    Raises:
        DeviceMemoryError: when the device's memory does not suffice.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryExhaustedError) as error:
        keys = [*_batch(recipe, processes), *_input(recipe), *_model(recipe)]
        halving = " Precision bf16 or fp16 halves the activations." if precision == "fp32" else ""
        what = "validation" if processes is None else "training"
        raise DeviceMemoryError(
            f"{device} ran out of memory in {what}. Lower one of these recipe keys: {', '.join(keys)}.{halving} "
            # Who runs networks for others too can only name keys in general.
            f"({error.__cause__ or error})"
        ) from error


def _batch(recipe: TrainRecipe, processes: int | None) -> list[str]:
    """Return the key of the batch, unless there is nothing to lower."""
    if processes is None:
        return [f"validate_batch_size (now {recipe.validate_batch_size})"] if recipe.validate_batch_size > 1 else []
    if recipe.batch_size == processes:
        return []
    return [
        f"batch_size (now {recipe.batch_size}; raise accumulate, now {recipe.accumulate}, by the same factor to keep "
        "what an optimizer step sees)"
    ]


def _input(recipe: TrainRecipe) -> list[str]:
    views = [
        f"input.views.{name}.{size} (now {getattr(view, size)})"
        for name, view in recipe.input.views.items()
        for size in view.size_keys
    ]
    return views + ([f"input.frames (now {recipe.input.frames})"] if recipe.input.frames > 1 else [])


def _model(recipe: TrainRecipe) -> list[str]:
    """Return the keys of the family's network, as the family names them; of some it is a smaller kind that is meant."""
    settings = recipe.parsed_model.model_dump(mode="json")
    return [f"model.{key} (now {settings[key]})" for key in recipe.parsed_family.memory_keys]
