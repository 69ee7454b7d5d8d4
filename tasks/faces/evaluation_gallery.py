"""The media that an ensemble gets most wrong, drawn as strips of their faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import BadInputError
from data.index import SampleIndex
from data.shards import ShardReader
from data.stored import load_sample
from judging.overlays import encode_jpeg, side_by_side
from judging.report import Figure
from tasks.faces.evaluation_groups import Part
from tasks.faces.media_scores import MediaLogits

FACES = 4  # of a strip
SIDE = 112  # px of one


@dataclass(frozen=True)
class FaceGallery:
    """Strips of the media that are missed and of the false alarms, worst first."""

    missed: Sequence[Figure]
    false_alarms: Sequence[Figure]


def draw_gallery(media: MediaLogits, part: Part, index: SampleIndex, reader: ShardReader, count: int) -> FaceGallery:
    """Draw the worst errors.

    Args:
        media: of a test split; those of which the part abstains are not shown.
        part: whose errors.
        index: holds the rows of the media's faces.
        reader: of its shards.
        count: strips of each kind, at most.
    """
    media = media.scored_by(part.members)
    scores, manipulated = media.scores(part.members), media.manipulated
    called = scores >= part.threshold
    missed = [n for n in np.argsort(scores, kind="stable") if manipulated[n] and not called[n]][:count]
    alarms = [n for n in np.argsort(-scores, kind="stable") if called[n] and not manipulated[n]][:count]
    strips = {int(number): _Strip(media.select(np.array([number])), part) for number in (*missed, *alarms)}
    names = media.column("media_id")
    rows = _rows(index, [sample for strip in strips.values() for sample in strip.samples])
    drawn = {
        number: Figure(strip.draw(rows, reader), f"{names[number]} · {scores[number]:.2f}", "image/jpeg")
        for number, strip in strips.items()
    }
    return FaceGallery([drawn[int(n)] for n in missed], [drawn[int(n)] for n in alarms])


def _rows(index: SampleIndex, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = index.table.filter(pc.is_in(index.table["sample_id"], pa.array(samples, pa.string())))
    return {row["sample_id"]: row for row in found.to_pylist()}


class _Strip:
    """Some frames, spread evenly, of the most suspicious face of a medium."""

    def __init__(self, medium: MediaLogits, part: Part) -> None:
        samples, scores = max(medium.tracks(part.members), key=lambda one: float(one[1].mean()))
        frames = np.unique(np.linspace(0, len(samples) - 1, FACES).round().astype(int))
        self._scores = scores[frames]
        self.samples = [samples[frame] for frame in frames]

    def draw(self, rows: dict[str, dict[str, Any]], reader: ShardReader) -> bytes:
        """Return the strip as JPEG; under each face lies a bar as long as its probability."""
        faces = [
            _face(rows[sample], reader, float(score)) for sample, score in zip(self.samples, self._scores, strict=True)
        ]
        return encode_jpeg(side_by_side(faces))


def _face(row: dict[str, Any], reader: ShardReader, score: float) -> NDArray[np.uint8]:
    try:
        rgb = load_sample(row, reader).rgb
    except BadInputError:  # other faces of the same medium were readable; a gap says that this one is not
        rgb = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    face = np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bar = np.full((8, SIDE, 3), 235, dtype=np.uint8)
    bar[2:, : round(SIDE * score)] = (200, 40, 40)
    return np.concatenate([face, bar])
