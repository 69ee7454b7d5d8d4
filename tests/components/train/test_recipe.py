import pytest

from components.train.recipe import TrainRecipe, differing_keys
from core.errors import SettingsError
from core.settings import parse, validate


def _recipe(**changes):
    given = {"member": "x", "family": "forgery", "policy": "forgery", "monitor": {"metric": "f1"}}
    given |= {"input": {"views": {"tiles": {}}}, **changes}
    return validate(TrainRecipe, given, "recipe")


def test_the_defaults_are_the_published_settings():
    recipe = _recipe()
    assert (recipe.input.only.size, recipe.batch_size, recipe.epochs) == (512, 4, 25)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("adamw", 1e-4, 1e-4)
    assert recipe.schedule.name == "cosine"
    assert recipe.policy == "forgery"
    assert recipe.name == "x_first"


def test_a_recipe_survives_the_way_through_json():
    recipe = _recipe(freeze=["encoder.*"], ema_decay=0.99, early_stopping={"patience": 3})
    assert parse(TrainRecipe, recipe.to_json(), "recipe") == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batchsize": 4}, ["batchsize", "unknown key"]),
        ({"family": "forgry"}, ["forgry", "Did you mean 'forgery'"]),
        ({"model": {"gate": "none", "gatte": 1}}, ["model", "gatte"]),
        ({"loss": {"focal_weight": -1}}, ["loss", "focal_weight", "-1"]),
        ({"batch_size": 4, "processes": 3}, ["batch_size = 4", "divisible", "processes = 3"]),
        ({"schedule": {"warmup_epochs": 30}}, ["warmup_epochs = 30", "epochs = 25"]),
        ({"sampling": {"bands": [[0.5, 1], [0.1, 1]]}}, ["bands", "rise"]),
        ({"sampling": {"bands": [[0.5, -1]]}}, ["bands", "negative"]),
        ({"member": "../x"}, ["member", "../x"]),
        ({"precision": "int8"}, ["precision", "int8", "bf16"]),
    ],
)
def test_a_wrong_key_is_named_with_its_value_and_what_is_allowed(changes, words):
    with pytest.raises(SettingsError) as caught:
        _recipe(**changes)
    for word in words:
        assert word in str(caught.value)


def test_two_recipes_differ_by_dotted_keys_and_harmless_ones_do_not_count():
    left = _recipe(optimizer={"lr": 0.1}, workers=1, keep_last=3).model_dump(mode="json")
    right = _recipe(optimizer={"lr": 0.2}, seed=4).model_dump(mode="json")
    assert differing_keys(left, right) == {"optimizer.lr": (0.1, 0.2), "seed": (0, 4)}


def test_a_key_of_free_settings_that_one_recipe_lacks_is_a_difference():
    left = _recipe(model={"gate": "none"}).model_dump(mode="json")
    assert differing_keys(left, _recipe().model_dump(mode="json")) == {"model.gate": ("none", None)}


def _error(**keys) -> str:
    with pytest.raises(SettingsError) as caught:
        _recipe(**keys)
    return str(caught.value)


def test_views_clips_and_sampling_are_those_of_the_family_and_its_task():
    assert "input.views = face: family forgery reads tiles" in _error(input={"views": {"face": {}}})
    single = {"views": {"face": {"mean": [0.0] * 3, "std": [1.0] * 3}}, "frames": 2}
    assert "family genconvit judges single pictures, so 1" in _error(family="genconvit", input=single)
    assert "pseudo_fakes" in _error(sampling={"pseudo_fakes": {}})
    faces = {"family": "spotter", "input": {"views": {"face": {}}, "frames": 2}}
    assert _recipe(**faces, sampling={"pseudo_fakes": {}}).parsed_sampling.pseudo_fakes.probability == 0.5
    tight = {"balanced": True, "pseudo_fakes": {"probability": 0.5}}
    assert "leaves no room for real fakes" in _error(**faces, sampling=tight)


def test_an_input_must_be_given():
    with pytest.raises(SettingsError, match="input"):
        validate(TrainRecipe, {"member": "x"}, "recipe")


def test_every_key_is_documented():
    def undocumented(schema: dict) -> list[str]:
        return [
            f"{name}.{key}"
            for name, part in {"": schema, **schema.get("$defs", {})}.items()
            for key, value in part.get("properties", {}).items()
            if "description" not in value
        ]

    assert undocumented(TrainRecipe.model_json_schema()) == []
