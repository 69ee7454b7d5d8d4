"""The windows that a network of clips sees of a face: consecutive frames, in training as in judging.

The rows or crops of a track lie in the order of time, each at a place: its run, and the number of its frame. A window
ends where the next frame is not the next one of the same run: at the end of a run, and where a face was not found.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

Place = tuple[int, int]  # the run, and the number of the frame in its clip


@dataclass
class WindowCutter:
    """Cuts one track into windows, frame by frame.

    Attributes:
        step: from one frame of a run to the next, ``ExtractionSpec.step``.
        longest: frames of a window at most; None for no bound.
    """

    step: int
    longest: int | None = None
    _last: Place | None = field(default=None, init=False)
    _length: int = field(default=0, init=False)

    def begins(self, run: int, frame: int) -> bool:
        """Tell whether a window begins with the track's next frame; one that does not belongs to the window before."""
        begins = self._length == self.longest or self._last != (run, frame - self.step)
        self._length = 1 if begins else self._length + 1
        self._last = (run, frame)
        return begins


def windows(places: Iterable[Place], step: int, longest: int | None = None) -> list[slice]:
    """Cut a track into windows that hold every frame once, each as long as it can be.

    Args:
        places: of the track's frames, in the order of time.
        step: see ``WindowCutter``.
        longest: see there.
    """
    cutter = WindowCutter(step, longest)
    count, starts = 0, []
    for run, frame in places:
        if cutter.begins(run, frame):
            starts.append(count)
        count += 1
    return [slice(start, end) for start, end in pairwise([*starts, count])]
