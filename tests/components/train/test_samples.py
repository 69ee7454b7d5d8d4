import pytest

from components.train.recipe import TrainRecipe
from components.train.samples import training_samples
from core.errors import SettingsError
from core.settings import validate
from data.datasets import FaceDataset, PictureDataset, collate, face_collate
from data.index import read_index
from data.shards import ShardReader
from models.registry import get_family

SPOTTER = {"backbone": "test_efficientnet", "weights": "random"}


def _recipe(**keys) -> TrainRecipe:
    return validate(TrainRecipe, {"member": "x", **keys}, "recipe")


def _faces(family="spotter", frames=2, **keys) -> TrainRecipe:
    model = SPOTTER if family == "spotter" else {"weights": ["random", "random"]}
    view = {"view": "whole", "size": 64, "frames": frames, "mean": [0.0] * 3, "std": [1.0] * 3}
    return _recipe(**{"family": family, "model": model, "input": view, "policy": "faces", **keys})


def _samples(folder, recipe):
    index = read_index(folder).where(split="train")
    return training_samples(get_family(recipe.family), index, ShardReader(index.shards), frozenset(), recipe)


def test_segmentation_draws_crops_of_pictures(tiny_dataset):
    samples = _samples(tiny_dataset, _recipe(input={"size": 64, "overlap": 16}, policy="native"))
    assert isinstance(samples.dataset, PictureDataset) and samples.collate is collate
    assert len(samples.weights) == 12


def test_a_classifier_of_pictures_draws_faces(tiny_faces):
    samples = _samples(tiny_faces, _faces("genconvit", frames=1))
    assert isinstance(samples.dataset, FaceDataset) and samples.collate is face_collate
    assert len(samples.weights) == len(samples.dataset) == 36
    assert "lengths" not in samples.collate([samples.dataset[0, 0]])


def test_a_classifier_of_clips_draws_tracks(tiny_faces):
    samples = _samples(tiny_faces, _faces())
    assert len(samples.weights) == len(samples.dataset) == 12
    assert "lengths" in samples.collate([samples.dataset[0, 0]])


def test_pseudo_fakes_come_from_the_recipe(tiny_faces):
    only = {"pseudo_fakes": {"probability": 1.0, "real_fakes": False}}
    samples = _samples(tiny_faces, _faces(sampling=only))
    drawn = [samples.dataset[int(track), 0] for track in samples.weights.nonzero()[0]]
    assert len(drawn) == 6  # the real ones
    assert all(sample["label"] == 1 and sample["mask"].any() for sample in drawn)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"input": {"view": "tiles", "size": 64}}, "needs whole or centre"),
        ({"policy": "forgery"}, "policies that keep a picture"),
    ],
)
def test_what_does_not_suit_faces_is_refused(tiny_faces, keys, told):
    with pytest.raises(SettingsError, match=told):
        _samples(tiny_faces, _faces(**keys))
