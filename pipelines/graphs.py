"""The pipelines by name, and the YAML they compile to."""

from itertools import dropwhile
from pathlib import Path
from types import ModuleType

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from core.errors import unknown_name
from core.files import write_text
from pipelines import deepfake, forgery, images
from pipelines.recipe import AnyRecipe, load_recipe

GRAPHS: dict[str, ModuleType] = {"deepfake": deepfake, "forgery": forgery}
DEFAULT_RECIPES = {"deepfake": "deepfake/published", "forgery": "forgery/published"}


def graph(name: str) -> ModuleType:
    """Return the module of a pipeline.

    Raises:
        SettingsError: for an unknown name, with a suggestion.
    """
    if name not in GRAPHS:
        raise unknown_name("pipeline", name, GRAPHS)
    return GRAPHS[name]


def load(name: str, recipe: str | None = None) -> AnyRecipe:
    """Load a recipe of a pipeline by name or path; None takes the published one.

    Raises:
        SettingsError: for an unknown pipeline or recipe, with a suggestion, or for keys that do not validate.
    """
    module, wanted = graph(name), recipe or DEFAULT_RECIPES[name]
    loaded: AnyRecipe = load_recipe(wanted, module.RECIPE)
    return loaded


def build(name: str, recipe: AnyRecipe, registry: str | None = None, tag: str | None = None) -> BaseComponent:
    """Declare a pipeline with its steps' images pinned."""
    tag = tag or images.build_tag()
    pipeline: BaseComponent = graph(name).build(recipe, lambda image: images.reference(image, registry, tag))
    return pipeline


def compile_pipeline(
    name: str, output: Path, recipe: str | None = None, registry: str | None = None, tag: str | None = None
) -> Path:
    """Write the pipeline's YAML; the same source, recipe and images give the same bytes.

    Args:
        name: a pipeline.
        output: the YAML file to write.
        recipe: a recipe's name or path; None takes the published one.
        registry: where the images are; None reads the environment.
        tag: the images' tag or digest; None takes the git commit.
    """
    pipeline = build(name, load(name, recipe), registry, tag)
    temporary = output.with_suffix(".partial.yaml")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline, str(temporary))
    text = temporary.read_text(encoding="utf-8")
    temporary.unlink()
    # KFP's header repeats the parameters as comments, in an order that differs from process to process.
    lines = text.splitlines(keepends=True)
    write_text(output, "".join(dropwhile(lambda line: line.startswith("#"), lines)))
    return output
