"""Finding pipelines, their recipes and their variants: a folder of recipes is a pipeline."""

import os
from collections.abc import Sequence
from pathlib import Path

from core.errors import SettingsError, unknown_name
from core.registry import EXTENSIONS_VARIABLE
from core.settings import load, load_mapping, validate
from pipelines.overrides import override
from pipelines.recipe import PipelineRecipe, Variant

RECIPES = Path(__file__).parent / "recipes"
DEFAULT = "published"
VARIANTS = "variants"
SUFFIXES = (".yaml", ".yml")


def pipeline_folders() -> dict[str, Path]:
    """Return the folder of every pipeline by its name: those that ship, and those of extensions."""
    extensions = os.environ.get(EXTENSIONS_VARIABLE, "").split(os.pathsep)
    roots = [RECIPES, *(Path(folder) / "pipelines" / "recipes" for folder in extensions if folder)]
    found = {path.parent.name: path.parent for root in roots for path in root.glob(f"*/{DEFAULT}.yaml")}
    return dict(sorted(found.items()))


def pipeline_folder(name: str) -> Path:
    """Return the folder of a pipeline's recipes.

    Raises:
        SettingsError: for an unknown name, with a suggestion.
    """
    folders = pipeline_folders()
    if name not in folders:
        raise unknown_name("pipeline", name, folders)
    return folders[name]


def recipe_names() -> list[str]:
    """Return the names of all recipes that are found, such as ``forgery/published``."""
    return [
        f"{name}/{path.stem}" for name, folder in pipeline_folders().items() for path in sorted(folder.glob("*.yaml"))
    ]


def recipe_path(pipeline: str, recipe: str | None = None) -> Path:
    """Return the file of a recipe.

    Args:
        pipeline: its name.
        recipe: a recipe's name, or the path of a YAML file; None takes the published one.

    Raises:
        SettingsError: for an unknown name, with a suggestion, or a recipe of another pipeline.
    """
    folder = pipeline_folder(pipeline)
    name = recipe or f"{pipeline}/{DEFAULT}"
    if Path(name).suffix in SUFFIXES:
        return Path(name)
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names())
    if name.partition("/")[0] != pipeline:
        raise SettingsError(f"{name} is no recipe of the pipeline {pipeline}; it has {', '.join(_own(folder))}")
    return folder / f"{name.partition('/')[2]}.yaml"


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> PipelineRecipe:
    """Read a recipe.

    Args:
        path: of its YAML file.
        overrides: ``<dotted key>=<value>`` each, laid over the file.

    Raises:
        SettingsError: when the file cannot be read, or keys do not validate.
    """
    return validate(PipelineRecipe, override(load_mapping(path), overrides), str(path))


def load_variant(name: str, folders: Sequence[Path]) -> Variant:
    """Read the variant of a member from the first folder that has it.

    Raises:
        SettingsError: for an unknown name, with a suggestion, or keys that do not validate.
    """
    known = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.yaml")}
    if name not in known:
        raise unknown_name("member", name, known)
    return load(Variant, known[name])


def variant_folders(pipeline: str, recipe: Path) -> list[Path]:
    """Return where variants are looked for: beside the recipe's file, then in the pipeline's own folder."""
    return list(dict.fromkeys([recipe.parent / VARIANTS, pipeline_folder(pipeline) / VARIANTS]))


def _own(folder: Path) -> list[str]:
    return sorted(f"{folder.name}/{path.stem}" for path in folder.glob("*.yaml"))
