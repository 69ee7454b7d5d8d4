"""Views of whole pictures, as networks that mark regions read them."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from media.extraction import ExtractionSpec
from media.pixel_view import PixelView
from media.tiles import Plan


class PictureView(PixelView):
    """The base of views of a picture in one or several squares, with the way back from their maps."""

    whole_picture: ClassVar[bool] = True

    size: int = Field(default=512, ge=32, le=4096, multiple_of=32)
    """Side of a square in px, a multiple of 32."""

    def require(self, extraction: ExtractionSpec) -> str:
        """Say why samples that were extracted so cannot show this view; "" where they can."""
        if extraction.faces is None:
            return ""
        return f"the view {self.name} is of whole pictures, and the data set holds face crops"

    @abstractmethod
    def tiles(self, rgb: NDArray[np.uint8]) -> tuple[list[NDArray[np.uint8]], Plan]:
        """Cut a picture uint8 [H, W, 3] into the arrays that a network judges.

        Returns:
            uint8 [C, S, S] each, and the plan with which ``media.tiles.blend`` puts maps of them together.
        """
