"""What networks that mark regions are trained on: augmented crops of pictures with the masks of what was forged."""

from torch.utils.data import Dataset

from data.datasets import Sample, ViewCutter, collate, read_sample
from data.index import SampleIndex
from data.labels import is_manipulated
from data.shards import ShardReader
from data.stored import StoredSamples
from media.spec import InputSpec
from media.tiles import FORGED_CROPS
from tasks.regions.settings import RegionsSampling
from tasks.sampling_weights import drawn_weights, row_weights
from tasks.task import TrainingRequest, TrainingSamples


class PictureDataset(Dataset[Sample]):
    """Augmented crops of an index's pictures.

    Items are asked for by (row, seed) pairs, which the sampler draws: so what an item holds does not depend on which
    process loads it, or on what was loaded before. Picklable; needs no ``worker_init_fn``.

    Args:
        index: the rows; a row of the data set is a row of this index.
        reader: of the shards that the index points into.
        policy_name: an augmentation policy of ``media.transforms``.
        input_spec: of views of whole pictures.
        forged_crops: how often a crop of a forged picture is laid over forged pixels, 0..1.

    Raises:
        SettingsError: for an unknown policy.
    """

    def __init__(
        self,
        index: SampleIndex,
        reader: ShardReader,
        policy_name: str,
        input_spec: InputSpec,
        *,
        forged_crops: float = FORGED_CROPS,
    ) -> None:
        self._stored = StoredSamples(index, reader)
        self._cutter = ViewCutter(input_spec, policy_name, forged_crops=forged_crops)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Load and augment one sample.

        Args:
            key: row of the index, and a seed that is not negative.

        Raises:
            MismatchError: when the sample cannot be read; the message names it.
        """
        row, seed = int(key[0]), int(key[1])
        frames = [self._cutter.cut(read_sample(self._stored, row), seed)]
        return {
            "views": self._cutter.stack(frames),
            "mask": self._cutter.masks(frames),
            "label": int(self._stored.label[row]),
            "row": row,
            "sample_id": self._stored.sample_id(row),
        }


def training_samples(request: TrainingRequest) -> TrainingSamples:
    """Return crops of pictures, drawn by how much of them is forged.

    Raises:
        SettingsError: for an augmentation policy that does not exist.
        BadInputError: ``no-samples`` or ``empty-class``, as ``drawn_weights``.
    """
    train, sampling = request.index, request.sampling
    assert isinstance(sampling, RegionsSampling)  # noqa: S101 - the task's own, as the recipe validates them
    weights = row_weights(train, request.hard_negatives, sampling)
    return TrainingSamples(
        PictureDataset(train, request.reader, request.policy, request.input, forged_crops=sampling.forged_crops),
        collate,
        drawn_weights(weights, is_manipulated(train.column("label")), sampling),
    )
