"""What the model card says of bundles that classify faces."""

from typing import TYPE_CHECKING

from tasks.task import CardTexts

if TYPE_CHECKING:
    from bundle.faces.verdict import FaceDecision


def _decision(decision: "FaceDecision") -> str:
    return f"A medium counts as manipulated from a probability of {decision.threshold:g} on."


CARD = CardTexts(
    description=(
        "Says of a video or picture whether a face in it was manipulated, how probable that is for the whole and for "
        "each frame, and where a frame looks manipulated."
    ),
    how=(
        "A medium is judged by the faces found in it. The probability of a face is the weighted mean over the members "
        "of the mean of sigmoid(logit / temperature) over its clips, or over its frames where a member has no clips; "
        "that of a medium is its most suspicious face's."
    ),
    limits=(
        "Manipulations of kinds that were not in the training data may be missed.",
        "Strong recompression, down-scaling and screen recordings remove the traces the networks look for.",
        "Only faces are judged: other changes to the picture, and those to sound or meaning, are not detected.",
        "A medium in which no face is found has no verdict.",
        "Faces of people who are rare in the training data may be judged less well.",
        "A verdict is evidence for a person to weigh, not proof.",
    ),
    medium="medium",
    robustness="AUC above chance",
    decision=_decision,
)
