"""What exported classifiers of faces are compared on: crops of val, and clips of its tracks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import CLIP, HEATMAP, MODEL
from bundle.faces.analysis import clip_inputs
from bundle.faces.verdict import FaceDecision
from bundle.runtimes import Networks
from core.settings import Settings
from data.stored import load_sample
from data.tracks import find_tracks
from media.view import stack
from tasks.probing import spread, threshold_logit
from tasks.task import ExportJob

Clip = Mapping[str, NDArray[Any]]  # the arrays of a clip's n frames by name, [n, ...] each


@dataclass(frozen=True)
class ClipProbe:
    """Asks networks about single faces, one of each clip, and about the clips by the vectors that they give themselves.

    Attributes:
        cut: calibrated logit from which on a face counts as manipulated.
        clips: as networks read them.
        length: frames of a clip that a network of clips takes.
    """

    cut: float
    clips: Sequence[Clip]
    length: int

    def __call__(self, networks: Networks, count: int) -> dict[str, NDArray[np.float32]]:
        """Return ``logits`` [count, 1], and where there are such ``heatmap`` [count, 1, h, w] and ``clip`` [count, 1].

        ``clip`` are the logits of clips.
        """
        clips, model = self.clips[:count], networks[MODEL]
        faces = {
            name: np.stack([clip[name][number % len(clip[name])] for number, clip in enumerate(clips)])
            for name in clips[0]
        }
        outputs = model(faces)
        found = {name: outputs[name] for name in ("logits", HEATMAP) if name in outputs}
        if CLIP in networks:
            given = [model(clip)["vectors"] for clip in clips]
            inputs = [clip_inputs(vectors, [slice(0, len(vectors))], self.length) for vectors in given]
            vectors, lengths = zip(*inputs, strict=True)
            arrays = {"vectors": np.concatenate(vectors), "lengths": np.concatenate(lengths)}
            found[CLIP] = networks[CLIP](arrays)["logits"]
        return found


def probe(job: ExportJob, member: str, decision: Settings, count: int) -> ClipProbe:
    """Return a probe of ``count`` clips, of tracks spread evenly over val.

    The first is as long as it can be and each further one is a frame shorter, so that padding is compared too. It is
    arithmetic that is compared: their frames are those that follow each other in the index, whatever their runs.

    Args:
        job: what is exported.
        member: whose networks it is for.
        decision: of the member, a ``FaceDecision``.
        count: how many clips.
    """
    assert isinstance(decision, FaceDecision)  # noqa: S101 - what ``fit`` chose
    spec = job.networks[member].spec.input
    tracks = find_tracks(job.val)
    clips = []
    for number, track in enumerate(spread(len(tracks), count)):
        longest = spec.frames - number % spec.frames
        rows = job.val.table.take(tracks.rows_of(track)[:longest]).to_pylist()
        samples = [load_sample(row, job.reader) for row in rows]
        clips.append(stack(spec.views, [{name: view.cut(one) for name, view in spec.views.items()} for one in samples]))
    return ClipProbe(threshold_logit(decision.threshold), clips, spec.frames)
