"""What the model card says of bundles that mark forged regions."""

from typing import TYPE_CHECKING

from tasks.task import CardTexts

if TYPE_CHECKING:
    from bundle.regions.verdict import OperatingPoint


def _decision(point: "OperatingPoint") -> str:
    return (
        f"A pixel counts as forged from a probability of {point.threshold:g} on; a picture, when at least "
        f"{point.min_area_fraction:g} of its pixels do."
    )


CARD = CardTexts(
    description=(
        "Marks the pixels of a photograph that were copied within it, spliced in from another picture or painted over, "
        "and says whether the photograph as a whole counts as forged."
    ),
    how=(
        "A picture is judged at its own resolution in overlapping tiles. The probability of a pixel is the weighted "
        "mean of sigmoid(logit / temperature) over the members."
    ),
    limits=(
        "Forgeries of kinds that were not in the training data may be missed.",
        "Strong recompression, down-scaling and screenshots remove the traces the networks look for.",
        "Wholly generated pictures, retouching of colour and light, and misleading captions are not detected.",
        "A verdict is evidence for a person to weigh, not proof.",
    ),
    medium="picture",
    robustness="F1",
    decision=_decision,
)
