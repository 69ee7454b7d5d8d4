"""Where a face lies in a stored sample, as self-blending needs it."""

from dataclasses import dataclass

from media.view import StoredSample


@dataclass(frozen=True)
class Place:
    """Where a face lies in a picture, in px; pixel centres lie at whole coordinates.

    Attributes:
        centre: middle of the face's box, x and y.
        box_side: longer side of the box.
        width: of the crop around the face that lengths relative to a crop are of.
        height: of that crop.
    """

    centre: tuple[float, float]
    box_side: float
    width: float
    height: float


def place_of(sample: StoredSample, margin: float) -> Place:
    """Return where the face lies: by its box, or, in a crop that others cut, in the middle.

    Args:
        sample: of a face.
        margin: side of a crop around the face / longer side of the face's box; that of the crops that others cut.
    """
    if sample.subject is None:
        height, width = sample.rgb.shape[:2]
        return Place(((width - 1) / 2, (height - 1) / 2), max(height, width) / margin, width, height)
    x0, y0, x1, y1 = sample.subject.box
    side = max(x1 - x0, y1 - y0)
    return Place(((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2), side, side * margin, side * margin)
