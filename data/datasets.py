"""The samples of an index as a map-style PyTorch data set; the only module of this package that imports torch."""

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NotRequired, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from core.errors import BadInputError, MismatchError, SettingsError
from data.index import SampleIndex
from data.shards import ShardReader
from data.tracks import draw_window, find_tracks
from media.inputs import face_mask, face_view, network_planes
from media.pictures import decode_mask_png, decode_stored
from media.selfblend.blend import self_blend
from media.selfblend.settings import PseudoFakeSettings
from media.spec import FaceSpec, InputSpec
from media.transforms import policy


class Sample(TypedDict):
    """One augmented crop.

    Attributes:
        image: uint8 [C, S, S], 0..255.
        mask: uint8 [1, S, S], 1 where forged.
        label: 1 when the *picture* is manipulated; its crop may hold no forged pixel all the same: the mask says so.
        row: of the index.
        sample_id: of the index.
    """

    image: Tensor
    mask: Tensor
    label: int
    row: int
    sample_id: str


def _read(
    reader: ShardReader, shard: str, picture: tuple[int, int], mask: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Read and decode a picture and, where there is one, its mask, each given by offset and size in a shard."""
    rgb = decode_stored(reader.read(shard, *picture))
    if mask is None:
        return rgb, None
    forged = decode_mask_png(reader.read(shard, *mask))
    if forged.shape != rgb.shape[:2]:
        raise BadInputError(
            "mask-size",
            f"the picture has {rgb.shape[1]}×{rgb.shape[0]} px, its mask {forged.shape[1]}×{forged.shape[0]}",
        )
    return rgb, forged


def load_sample(row: Mapping[str, Any], reader: ShardReader) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read a whole picture and its mask at their own resolution.

    Args:
        row: of an index, as ``SampleIndex.rows`` gives it.
        reader: of the index's shards.

    Returns:
        uint8 [H, W, 3] RGB and bool [H, W]; where the index has no mask, nothing is forged.

    Raises:
        BadInputError: when the stored bytes do not decode, or picture and mask differ in size (``mask-size``).
        MismatchError: when the index does not belong to the shards.
    """
    mask = None if row["mask_offset"] is None else (row["mask_offset"], row["mask_size"])
    rgb, forged = _read(reader, row["shard"], (row["offset"], row["size"]), mask)
    return rgb, np.zeros(rgb.shape[:2], dtype=np.bool_) if forged is None else forged


@cache
def _use_no_threads() -> None:
    """Let OpenCV work in a loader's worker without threads, as PyTorch does there: the workers are the parallelism.

    Zero and not one: one would make OpenCV wait for its pool's threads, which do not exist in a forked process.
    """
    cv2.setNumThreads(0)


class _Stored:
    """Where the samples of an index lie.

    Plain arrays: they are shared between forked workers, where Python objects would be copied page by page as their
    reference counts change, and they pickle at once.
    """

    def __init__(self, index: SampleIndex, reader: ShardReader) -> None:
        self._reader = reader
        self.label = index.column("label").astype(np.int64)
        self._sample_id = index.column("sample_id").astype("S")
        self._shards, self._shard = np.unique(index.column("shard").astype("S"), return_inverse=True)
        spans = [index.table.column(name) for name in ("offset", "size", "mask_offset", "mask_size")]
        self._spans = np.stack([span.fill_null(-1).to_numpy() for span in spans], axis=1)

    def __len__(self) -> int:
        return len(self.label)

    def sample_id(self, row: int) -> str:
        """Return the id of a row's sample."""
        return str(self._sample_id[row].decode())

    def read(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Read a row's picture, and its mask where it has one.

        Raises:
            MismatchError: when the sample cannot be read; the message names it.
        """
        if get_worker_info() is not None:
            _use_no_threads()
        offset, size, mask_offset, mask_size = self._spans[row].tolist()
        mask_span = None if mask_offset < 0 else (mask_offset, mask_size)
        try:
            return _read(self._reader, self._shards[self._shard[row]].decode(), (offset, size), mask_span)
        except (BadInputError, MismatchError) as error:
            # A worker's error is rebuilt from its message alone, so it must be one that takes nothing else.
            raise MismatchError(
                f"sample {self.sample_id(row)} cannot be read ({error}); extract its data set again"
            ) from error


class PictureDataset(Dataset[Sample]):
    """Augmented crops of an index's pictures.

    Items are asked for by (row, seed) pairs, which the sampler draws: so what an item holds does not depend on which
    process loads it, or on what was loaded before. Picklable; needs no ``worker_init_fn``.

    Args:
        index: the rows; a row of the data set is a row of this index.
        reader: of the shards that the index points into.
        policy_name: an augmentation policy of ``media.transforms``.
        input_spec: its ``size`` is the side of the crops, and with ``ela`` the crop's error levels are stacked on it.

    Raises:
        SettingsError: for an unknown policy.
    """

    def __init__(self, index: SampleIndex, reader: ShardReader, policy_name: str, input_spec: InputSpec) -> None:
        self._stored = _Stored(index, reader)
        self._policy = policy(policy_name, input_spec.size)
        self._input = input_spec

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
        crop, mask = self._policy(*self._stored.read(row), seed)
        planes = np.stack(cv2.split(network_planes(crop, self._input)))  # six times faster than a transposed copy
        return {
            "image": torch.from_numpy(planes),
            "mask": torch.from_numpy(mask.view(np.uint8))[None],
            "label": int(self._stored.label[row]),
            "row": row,
            "sample_id": self._stored.sample_id(row),
        }


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Stack samples into a batch, in shared memory when called by a loader's worker.

    Returns:
        ``image`` uint8 [B, C, S, S]; ``mask`` uint8 [B, 1, S, S]; ``label`` and ``row`` int64 [B]; ``sample_id`` a list
        of B strings.
    """
    batch: dict[str, Any] = default_collate(list(samples))
    return batch


class FaceSample(TypedDict):
    """One augmented face, or some consecutive frames of one.

    Attributes:
        image: uint8 [T, C, S, S], 0..255; T is 1 for single pictures.
        mask: uint8 [T, 1, S, S], 1 where forged; empty for a manipulated face whose forged pixels are not known.
        label: 1 when the face is manipulated, or was made a pseudo-fake and its frames show some of it.
        row: of the index; that of the first frame.
        sample_id: of that row.
        lengths: T, for networks of clips alone.
    """

    image: Tensor
    mask: Tensor
    label: int
    row: int
    sample_id: str
    lengths: NotRequired[int]


class FaceDataset(Dataset[FaceSample]):
    """Augmented face crops, single or as clips: the frames of a clip share all parameters of their augmentation.

    Items are asked for by (unit, seed) pairs, as those of ``PictureDataset``. A unit is a row of the index, or with
    ``clips`` the number of a track of ``find_tracks``, of which ``draw_window`` then takes 1 to ``input_spec.frames``
    consecutive frames. A crop is augmented at its stored size and then scaled to the network's input.

    Args:
        index: the rows.
        reader: of the shards that the index points into.
        policy_name: an augmentation policy of ``media.transforms`` that needs no size.
        input_spec: of the view ``whole`` or ``centre``.
        clips: whether the network takes clips.
        pseudo_fakes: how often an authentic face, single or in all frames of its clip, becomes a self-blended
            pseudo-fake before it is augmented; None makes none.

    Raises:
        SettingsError: for an unknown policy or one that cannot keep a picture's size, or the view ``tiles``;
            when pseudo-fakes are asked for and the index does not say how its faces were cut.
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
        if input_spec.view == "tiles":
            raise SettingsError("input.view = 'tiles': allowed for faces are 'whole' and 'centre'")
        self._faces = index.spec.extraction.faces or FaceSpec()
        if pseudo_fakes is not None and index.spec.extraction.faces is None:
            raise SettingsError(
                "sampling.pseudo_fakes blends inside of faces, but the data set's spec.extraction.faces is null: it "
                "holds whole pictures; extract face crops"
            )
        self._stored = _Stored(index, reader)
        self._policy = policy(policy_name, None)
        self._input = input_spec
        self._pseudo_probability = pseudo_fakes.probability if pseudo_fakes else 0.0
        self._tracks = find_tracks(index) if clips else None

    def __len__(self) -> int:
        return len(self._stored if self._tracks is None else self._tracks)

    def __getitem__(self, key: tuple[int, int]) -> FaceSample:
        """Load and augment one face or clip.

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
        pseudo = label == 0 and chance < self._pseudo_probability * 2**64
        images, masks = zip(*(self._frame(row, number, pseudo, *seeds) for number, row in enumerate(rows)), strict=True)
        mask = np.stack(masks)
        sample: FaceSample = {
            "image": torch.from_numpy(np.stack(images)),
            "mask": torch.from_numpy(mask.view(np.uint8)[:, None]),
            # Where the window shows nothing of what was blended in, nothing is there to be found.
            "label": int(label or bool(mask.any())),
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
        return [int(row) for row in rows[draw_window(len(rows), self._input.frames, random.Random(seed))]]

    def _frame(
        self, row: int, number: int, pseudo: bool, blend_seed: int, policy_seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the planes [C, S, S] and the mask [S, S] of one frame; its seeds are those of the whole clip."""
        rgb, mask = self._stored.read(row)
        if pseudo:
            rgb, mask = self_blend(rgb, self._faces, blend_seed)
        rgb, mask = self._policy(rgb, mask, policy_seed, frame=number)
        return face_view(rgb, self._input), face_mask(mask, self._input)


def face_collate(samples: Sequence[FaceSample]) -> dict[str, Any]:
    """Put faces or clips into a batch, in shared memory when called by a loader's worker.

    The frames of clips lie one after the other: nothing is padded.

    Returns:
        ``image`` uint8 [N, C, S, S] and ``mask`` uint8 [N, 1, S, S], with N the frames of all samples; ``label`` and
        ``row`` int64 [B]; ``sample_id`` a list of B strings; of clips also ``lengths`` int64 [B], which add up to N.
    """
    frames = ("image", "mask")
    batch: dict[str, Any] = {
        "image": default_collate([frame for sample in samples for frame in sample["image"]]),
        "mask": default_collate([frame for sample in samples for frame in sample["mask"]]),
    }
    rest = [{name: value for name, value in sample.items() if name not in frames} for sample in samples]
    batch |= default_collate(rest)
    return batch
