from pathlib import Path

import pytest

from core.errors import SettingsError
from pipelines.recipe import PipelineRecipe, load_recipe, recipe_names, resolve_members, resolve_training

PUBLISHED = ["highres_no_ela", "hard_negative", "high_recall", "enhanced_aug"]


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("forgery/")])
def test_every_member_of_every_shipped_recipe_resolves_in_every_generation(name: str) -> None:
    recipe = load_recipe(name, PipelineRecipe)
    for member in recipe.members:
        for generation in ("v3", "v4"):
            resolved = resolve_training(recipe, "forgery", member, generation)
            assert (resolved.member, resolved.generation) == (member, generation)


def test_the_published_recipe_holds_the_published_settings() -> None:
    recipe = load_recipe("forgery/published", PipelineRecipe)
    assert recipe.members == PUBLISHED
    for member in PUBLISHED:
        resolved = resolve_training(recipe, "forgery", member, "v3")
        assert resolved.input.size == 512
        assert (resolved.batch_size, resolved.epochs) == (4, 25)
        assert (resolved.optimizer.name, resolved.optimizer.lr, resolved.optimizer.weight_decay) == (
            "adamw",
            1e-4,
            1e-4,
        )
        assert (resolved.schedule.name, resolved.schedule.interval) == ("cosine", "epoch")
        assert resolved.model["encoder"] == "timm-efficientnet-b2"
        assert resolved.sampling.bands == ((0.01, 3.0), (0.05, 2.0), (1.0, 1.0))
        assert resolved.sampling.hard_negative == 5
    policies = {member: resolve_training(recipe, "forgery", member, "v3").policy for member in PUBLISHED}
    assert policies == dict.fromkeys(PUBLISHED, "forgery") | {"enhanced_aug": "enhanced"}


def test_a_variant_lies_over_the_recipe_and_a_generation_over_both() -> None:
    recipe = load_recipe("forgery/cpu", PipelineRecipe)
    v3, v4 = (resolve_training(recipe, "forgery", "features_gate", generation) for generation in ("v3", "v4"))
    assert v3.model["gate"] == "features"
    assert v3.model["encoder"] == recipe.train["model"]["encoder"]  # type: ignore[index, call-overload]
    assert v4.epochs != v3.epochs
    assert v4.optimizer.weight_decay == v3.optimizer.weight_decay


def test_any_subset_of_the_members_can_be_chosen() -> None:
    recipe = load_recipe("forgery/published", PipelineRecipe)
    chosen = resolve_members(recipe, "forgery", ["enhanced_aug", "high_recall"])
    assert [member["name"] for member in chosen] == ["enhanced_aug", "high_recall"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda recipe: load_recipe("forgery/publised", PipelineRecipe), "Did you mean 'forgery/published'?"),
        (lambda recipe: resolve_members(recipe, "forgery", ["hihg_recall"]), "Did you mean 'high_recall'?"),
        (lambda recipe: resolve_training(recipe, "forgery", "high_recall", "v5"), "Known: v3, v4"),
    ],
)
def test_a_wrong_name_is_an_error_with_a_suggestion(call: object, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        call(load_recipe("forgery/published", PipelineRecipe))  # type: ignore[operator]
    assert says in str(caught.value)


def test_a_wrong_key_in_a_recipe_file_is_named_with_its_value_and_what_is_allowed(tmp_path: Path) -> None:
    text = Path(__file__).with_name("tiny.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("layout: forged-authentic-masks", "layout: forged-authentic-mask"))
    with pytest.raises(
        SettingsError, match=r"(?s)extract.layout = 'forged-authentic-mask'.*Did you mean 'forged-authentic-masks'"
    ):
        load_recipe(str(path), PipelineRecipe)


def test_a_wrong_training_key_names_member_and_generation(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(Path(__file__).with_name("tiny.yaml").read_text().replace("batch_size: 4", "batch_sise: 4"))
    with pytest.raises(SettingsError, match=r"(?s)training recipe of high_recall v3.*batch_sise"):
        resolve_members(load_recipe(str(path), PipelineRecipe), "forgery", ["high_recall"])
