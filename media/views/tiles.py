"""``tiles``: square tiles of a photograph at its own resolution, with or without error levels."""

from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from media import tiles
from media.picture_view import PictureView
from media.pixel_view import Cropped, planes
from media.view import StoredSample

P = TypeVar("P", bound=np.generic)


class TilesView(PictureView):
    """A picture is judged in square tiles that overlap; a side shorter than a tile is padded by reflection.

    Training sees windows of one tile's size, which the augmentation policy takes out of a picture.
    """

    name: ClassVar[str] = "tiles"

    overlap: int = Field(default=64, ge=0)
    """By how many px neighbouring tiles overlap at least."""

    @field_validator("resize_filter")
    @classmethod
    def _no_resizing(cls, value: str) -> str:
        if value != "linear":
            raise ValueError("tiles are never scaled; leave resize_filter out")
        return value

    @property
    def window(self) -> int:
        """Side in px of what augmentation takes out of a picture: a tile's."""
        return self.size

    def crop(self, sample: StoredSample) -> Cropped:
        """Return the whole picture."""
        return Cropped(sample.rgb, sample.mask)

    def fit(self, planes: NDArray[P]) -> NDArray[P]:
        """Pad a window that is smaller than a tile; a larger one is cut in its middle."""
        padded = tiles.pad_to(planes, self.size)
        top, left = ((side - self.size) // 2 for side in padded.shape[:2])
        return padded[top : top + self.size, left : left + self.size]

    def tiles(self, rgb: NDArray[np.uint8]) -> tuple[list[NDArray[np.uint8]], tiles.TilePlan]:
        """Cut a picture uint8 [H, W, 3] into tiles.

        Returns:
            uint8 [C, S, S] each, views of the picture's planes that are to be stacked when their turn comes, and the
            plan that puts maps of them back together. Error levels are those of the whole picture.
        """
        height, width = rgb.shape[:2]
        plan = tiles.plan(height, width, self.size, self.overlap)
        return [tile.transpose(2, 0, 1) for tile in tiles.views(planes(rgb, self.ela), plan)], plan


VIEW = TilesView
