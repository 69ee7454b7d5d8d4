"""Starting from another run's weights."""

from pathlib import Path

from torch import nn

from components.train.recipe import TrainRecipe
from core.errors import MismatchError, SettingsError
from core.settings import parse
from media.spec import InputSpec, PreprocessingSpec, require_suitable
from media.view import View
from models.checkpoint import checkpoint_name, find_base, load_state, read_checkpoint
from models.family import Family

COMPARED = ("mean", "std", "ela", "channel_order")


def find_base_checkpoint(base: Path | None, recipe: TrainRecipe) -> Path | None:
    """Return the checkpoint to start from, None where the recipe's own starting weights are meant.

    Args:
        base: a checkpoint file, a folder that holds ``<member>_<base_stage>_best.pth`` (without a base stage the
            recipe's own), or None.
        recipe: the run's.

    Raises:
        SettingsError: when the recipe names a base stage and there is no base.
        StorageError: when the checkpoint is not there; the message says where it was looked for and how to train it.
    """
    if base is None:
        if recipe.base_stage is not None:
            name = checkpoint_name(recipe.member, recipe.base_stage)
            raise SettingsError(
                f"stage {recipe.stage} of {recipe.member} is fine-tuned from {recipe.base_stage}: give "
                f"--base the folder that holds {name}, or train it first with stage: {recipe.base_stage}"
            )
        return None
    return base if base.is_file() else find_base(base, recipe.member, recipe.base_stage or recipe.stage)


def load_base(network: nn.Module, path: Path, family: Family, spec: PreprocessingSpec, dataset: Path) -> list[str]:
    """Load a base checkpoint's weights into ``network``.

    Args:
        network: changed in place.
        path: the checkpoint; one of the published layout says nothing of its specification and is taken as it is.
        family: the network's.
        spec: extraction and input of this run.
        dataset: of this run, for messages.

    Returns:
        A line for each key that was not loaded, and why.

    Raises:
        MismatchError: when weights, stored pixels or normalisation do not fit.
        BadInputError: when the file is no checkpoint.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.model_type not in (None, family.name):
        raise MismatchError(f"{path} is of family {checkpoint.model_type}, the recipe is of {family.name}")
    if checkpoint.spec is not None:
        before = parse(PreprocessingSpec, checkpoint.spec, f"{path}: spec")
        require_suitable(before.input, str(path), spec.extraction, str(dataset))
        _require_same_pixels(before.input, spec.input, path)
    return load_state(network, checkpoint.model_state_dict, family, strict=False)


def _require_same_pixels(before: InputSpec, now: InputSpec, path: Path) -> None:
    """Check that views reach the network normalised as those that a base was trained on.

    Raises:
        MismatchError: naming the key and both values.
    """
    for name, earlier, view in _pairs(before, now):
        for key in COMPARED:
            trained, given = getattr(earlier, key, None), getattr(view, key, None)  # of pixels
            if trained != given:
                raise MismatchError(
                    f"{path} was trained with input.views.{name}.{key} = {trained}, the recipe has {given}: its "
                    "weights would see another kind of input; make them equal"
                )


def _pairs(before: InputSpec, now: InputSpec) -> list[tuple[str, View, View]]:
    """Return the name of each view that both have, as it was and as it is; of single views the names may differ."""
    if len(before.views) == len(now.views) == 1:
        return [(next(iter(now.views)), before.only, now.only)]
    return [(name, before.views[name], view) for name, view in now.views.items() if name in before.views]
