"""From the scores of frames and clips to the score of a medium: the same arithmetic in evaluation, export and serving.

A face is a track: the crops of one person through one medium, in the order of time. A network of single pictures gives
a logit for each frame; a network of clips gives one for each clip besides. A probability is
``sigmoid(logit / temperature)``.

* Of a member, a track's probability is the mean over its clips, or over its frames where the member has no clips.
  Clips are the windows of ``bundle.faces.windows``.
* Of the ensemble, it is the weighted mean of its members' probabilities. A member abstains from a track in none of
  whose frames there is what one of its views shows; the weights are those of the members that are left.
* A medium's probability is that of its most suspicious track: one forged face makes a forged medium.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def shown_views(frames: Iterable[Mapping[str, object]]) -> set[str]:
    """Return the views that some frame of a track shows, from each frame's arrays by view, None where there is none."""
    return {name for frame in frames for name, array in frame.items() if array is not None}


def abstains(views: Iterable[str], shown: Set[str]) -> bool:
    """Return whether a member abstains from a track: one of its views is shown in none of the track's frames.

    Args:
        views: of the member, by name.
        shown: those that some frame of the track shows; maybe others too.
    """
    return not set(views) <= shown


def probability(logits: NDArray[np.floating], temperature: float) -> Scores:
    """Return sigmoid(logits / temperature) as float64, of any shape."""
    with np.errstate(over="ignore"):  # exp overflows to infinity for a very negative logit, and 1 / (1 + inf) is right
        return np.asarray(1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64) / temperature)))


def track_probability(frames: Scores, clips: Scores | None) -> float:
    """Return a member's probability of one track from those of its frames and, for a member with clips, its clips."""
    return float(np.mean(frames if clips is None else clips))


def weighted(values: Mapping[str, Scores | float], weights: Mapping[str, float]) -> Scores:
    """Return the weighted mean of members' values by name.

    Args:
        values: of the members that have one, at least one.
        weights: by member, of those members and maybe others; where those members all weigh nothing, they count alike.
    """
    shares = {name: weights[name] for name in values}
    if not any(shares.values()):
        shares = dict.fromkeys(values, 1.0)
    total = sum(shares.values())
    return np.asarray(sum(shares[name] * np.asarray(value) for name, value in values.items()) / total)


def medium_probability(tracks: Sequence[float]) -> float:
    """Return a medium's probability from those of its tracks.

    Raises:
        ValueError: when there is no track: a medium without a face has no probability.
    """
    return max(tracks)
