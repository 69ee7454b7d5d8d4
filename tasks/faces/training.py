"""What classifiers of faces are trained on: augmented faces or clips of them, some made pseudo-fakes."""

import random
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bundle.faces.windows import windows
from core.errors import SettingsError
from data.datasets import Frame, Sample, ViewCutter, collate, read_sample
from data.index import SampleIndex
from data.labels import AUTHENTIC, is_manipulated
from data.shards import ShardReader
from data.stored import StoredSamples
from data.tracks import Tracks, draw_window, find_tracks
from media.selfblend.blend import self_blend
from media.selfblend.settings import PseudoFakeSettings
from media.spec import InputSpec
from tasks.faces.settings import FacesSampling
from tasks.sampling_weights import drawn_weights, row_weights
from tasks.task import TrainingRequest, TrainingSamples

MANIPULATED = 1  # the label of a pseudo-fake


class FaceDataset(Dataset[Sample]):
    """Augmented face crops, single or as clips: the frames of a clip share all parameters of their augmentation.

    Items are asked for by (unit, seed) pairs. A unit is a row of the index, or with ``clips`` the number of a track of
    ``find_tracks``, of which ``draw_window`` then takes 1 to ``input_spec.frames`` consecutive frames of one run. A
    view is augmented at its stored size and then scaled to the network's input. Picklable; needs no ``worker_init_fn``.

    Args:
        index: the rows.
        reader: of the shards that the index points into.
        policy_name: an augmentation policy of ``media.transforms`` that needs no size.
        input_spec: of views of faces.
        clips: whether the network takes clips.
        pseudo_fakes: how often an authentic face, single or in all frames of its clip, becomes a self-blended
            pseudo-fake before it is augmented; None makes none.

    Raises:
        SettingsError: for an unknown policy or one that cannot keep a picture's size, or when pseudo-fakes are asked
            for and the index does not say how its faces were cut.
    """

    def __init__(
        self,
        index: SampleIndex,
        reader: ShardReader,
        policy_name: str,
        input_spec: InputSpec,
        clips: bool,
        pseudo_fakes: PseudoFakeSettings | None = None,
    ) -> None:
        faces = index.spec.extraction.faces
        if pseudo_fakes is not None and faces is None:
            raise SettingsError(
                "sampling.pseudo_fakes blends inside of faces, but the data set's spec.extraction.faces is null: it "
                "holds whole pictures; extract face crops"
            )
        self._margin = 1.0 if faces is None else faces.margin
        self._stored = StoredSamples(index, reader)
        self._cutter = ViewCutter(input_spec, policy_name)
        self._longest = input_spec.frames
        self._pseudo_probability = pseudo_fakes.probability if pseudo_fakes else 0.0
        self._tracks = find_tracks(index) if clips else None
        self._places = np.stack([index.column("run"), index.column("frame")], axis=1)
        self._step = index.spec.extraction.step

    def __len__(self) -> int:
        return len(self._stored if self._tracks is None else self._tracks)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Load and augment one face or clip.

        An authentic face that was made a pseudo-fake is labelled manipulated, if its views show some of that.

        Args:
            key: row of the index or number of the track, and a seed that is not negative.

        Raises:
            MismatchError: when a sample cannot be read; the message names it.
        """
        unit, seed = int(key[0]), int(key[1])
        # Streams of their own: one seed for all would tie the window to the flip.
        chance, window_seed, *seeds = np.random.SeedSequence(seed).generate_state(4, np.uint64).tolist()
        rows = self._rows(unit, window_seed)
        label = int(self._stored.label[rows[0]])
        pseudo = label == AUTHENTIC and chance < self._pseudo_probability * 2**64
        frames = [self._frame(row, number, pseudo, *seeds) for number, row in enumerate(rows)]
        if label == AUTHENTIC and any(mask.any() for frame in frames for mask in frame.masks.values()):
            label = MANIPULATED
        sample: Sample = {
            "views": self._cutter.stack(frames),
            "mask": self._cutter.masks(frames),
            "label": label,
            "row": rows[0],
            "sample_id": self._stored.sample_id(rows[0]),
        }
        if self._tracks is not None:
            sample["lengths"] = len(rows)
        return sample

    def _rows(self, unit: int, seed: int) -> list[int]:
        if self._tracks is None:
            return [unit]
        rows = self._tracks.rows_of(unit)
        whole = windows(((run, frame) for run, frame in self._places[rows].tolist()), self._step)
        return [int(row) for row in rows[draw_window(whole, self._longest, random.Random(seed))]]

    def _frame(self, row: int, number: int, pseudo: bool, blend_seed: int, policy_seed: int) -> Frame:
        """Return the views of one frame; its seeds are those of the whole clip."""
        sample = read_sample(self._stored, row)
        if pseudo:
            sample = self_blend(sample, self._margin, blend_seed)
        return self._cutter.cut(sample, policy_seed, frame=number)


def sample_weights(
    train: SampleIndex, hard_negatives: frozenset[str], settings: FacesSampling, tracks: Tracks | None = None
) -> NDArray[np.float64]:
    """Return the weight of everything that can be drawn: every row of the train split, or every track.

    Args:
        train: rows of the train split.
        hard_negatives: sample ids of authentic rows.
        settings: the weights.
        tracks: of ``train``, for networks of clips.

    Returns:
        float64 [rows] or [tracks], not normalised.

    Raises:
        BadInputError: ``no-samples`` or ``empty-class``, as ``drawn_weights``.
    """
    weights, manipulated = row_weights(train, hard_negatives, settings), is_manipulated(train.column("label"))
    if settings.pseudo_fakes is not None and not settings.pseudo_fakes.real_fakes:
        weights = np.where(manipulated, 0.0, weights)
    if tracks is not None and len(tracks):
        # The heaviest row counts, or a hard negative would be diluted by its neighbours.
        weights = np.maximum.reduceat(weights[tracks.rows], tracks.starts)
        manipulated = manipulated[tracks.rows[tracks.starts]]
    return drawn_weights(weights, manipulated, settings)


def training_samples(request: TrainingRequest) -> TrainingSamples:
    """Return single faces, or for networks of clips tracks of them.

    Raises:
        SettingsError: for an augmentation policy that does not exist or does not suit faces, or pseudo-fakes of a data
            set that holds no face crops.
        BadInputError: ``no-samples`` or ``empty-class``, as ``drawn_weights``.
    """
    train, sampling = request.index, cast(FacesSampling, request.sampling)
    dataset = FaceDataset(train, request.reader, request.policy, request.input, request.clips, sampling.pseudo_fakes)
    tracks = find_tracks(train) if request.clips else None
    return TrainingSamples(dataset, collate, sample_weights(train, request.hard_negatives, sampling, tracks))
