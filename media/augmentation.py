"""What views and augmentation have to do with each other; the policies themselves are in ``media.transforms``."""

import random
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Policy(Protocol):
    """An augmentation of pixels: a window, and then changes of what it holds."""

    def window(self, rgb: Rgb, mask: Mask | None, draw: random.Random) -> tuple[Rgb, Mask | None]:
        """Cut the window out of uint8 [H, W, 3] and bool [H, W], at a place taken from ``draw``."""

    def change(
        self, rgb: Rgb, mask: Mask | None, seed: int, draw: random.Random, *, frame: int = 0
    ) -> tuple[Rgb, Mask]:
        """Change what the window holds; the parameters come from ``draw`` and ``seed``."""


class Draw:
    """What is drawn for one sample: all that follows the window, such as a flip, is alike in all of its views.

    Args:
        seed: of the augmentation, not negative; equal for all frames of a clip.
        frame: number of the sample in its clip.
    """

    def __init__(self, seed: int, *, frame: int = 0) -> None:
        self.seed = seed
        self.frame = frame
        self._after_window: Any = None

    def augment(self, policy: Policy, rgb: Rgb, mask: Mask | None) -> tuple[Rgb, Mask]:
        """Return the pixels uint8 [h, w, 3] and the mask bool [h, w] of one view augmented."""
        chance = random.Random(self.seed)
        rgb, mask = policy.window(rgb, mask, chance)
        # How many numbers a window takes from the stream depends on the crop's size: the first view's count.
        self._after_window = self._after_window or chance.getstate()
        chance.setstate(self._after_window)
        return policy.change(rgb, mask, self.seed, chance, frame=self.frame)
