"""Which frames of a clip a policy asks for."""

from collections.abc import Sequence

import numpy as np

from media.extraction import EvenFrames, FramePolicy, KeyFrames


def choose_frames(policy: FramePolicy, count: int, keys: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Choose among ``count`` frames.

    Args:
        policy: ``EvenFrames`` takes the first, the last and evenly between them (of one: the middle), or all there are
            of a shorter clip. ``ClipFrames`` takes as many runs as fit without overlap, the first at the beginning and
            the last at the end (of one: in the middle); a clip shorter than a run gives one run of what there is.
            ``KeyFrames`` takes of ``keys`` what ``EvenFrames`` takes of all.
        count: number of frames of the whole clip.
        keys: numbers of its key frames, ascending.

    Returns:
        Number and run of each frame, ascending, no number twice.
    """
    if isinstance(policy, KeyFrames):
        return [(keys[position], 0) for position, _ in choose_frames(EvenFrames(count=policy.count), len(keys))]
    if isinstance(policy, EvenFrames):
        if count <= policy.count:
            return [(number, 0) for number in range(count)]
        return [(number, 0) for number in _spread(count - 1, policy.count)]
    span = (policy.length - 1) * policy.stride + 1
    starts = _spread(max(0, count - span), max(1, min(policy.clips, count // span)))
    return [
        (number, run)
        for run, start in enumerate(starts)
        for number in range(start, min(count, start + span), policy.stride)
    ]


def _spread(last: int, count: int) -> list[int]:
    """Return ``count`` whole numbers from 0 to ``last``, both included; of one the middle."""
    if count == 1:
        return [last // 2]
    return [int(value) for value in np.linspace(0, last, count)]
