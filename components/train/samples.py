"""What a run trains on: the data set that its family's task needs, and how often each of its units is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from components.train.recipe import TrainRecipe
from components.train.sampling import sample_weights
from data.datasets import FaceDataset, PictureDataset, collate, face_collate
from data.index import SampleIndex
from data.shards import ShardReader
from data.tracks import find_tracks
from models.family import Family


@dataclass(frozen=True)
class TrainingSamples:
    """Samples to train on.

    Attributes:
        dataset: items by (unit, seed).
        collate: puts items into a batch.
        weights: how often each unit of the data set is drawn, float64 [units].
    """

    dataset: Dataset[Any]
    collate: Callable[[Any], dict[str, Any]]
    weights: NDArray[np.float64]


def training_samples(
    family: Family, train: SampleIndex, reader: ShardReader, hard_negatives: frozenset[str], recipe: TrainRecipe
) -> TrainingSamples:
    """Return what a family is trained on: crops of pictures with masks, whole faces, or clips of tracks.

    Args:
        family: its task and whether it takes clips decide.
        train: rows of the train split.
        reader: of the shards that ``train`` points into.
        hard_negatives: sample ids of authentic rows.
        recipe: augmentation, input and weights.

    Raises:
        SettingsError: for an augmentation policy that does not exist or does not suit the task.
        BadInputError: ``no-samples`` or ``empty-class``, as ``sample_weights``.
    """
    if family.task == "segmentation":
        dataset = PictureDataset(train, reader, recipe.policy, recipe.input)
        return TrainingSamples(dataset, collate, sample_weights(train, hard_negatives, recipe.sampling))
    faces = FaceDataset(train, reader, recipe.policy, recipe.input, family.clips, recipe.sampling.pseudo_fakes)
    tracks = find_tracks(train) if family.clips else None
    return TrainingSamples(faces, face_collate, sample_weights(train, hard_negatives, recipe.sampling, tracks))
