"""The model card: what a person must know of a bundle before relying on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bundle import CARD_FILE, Bundle, BundleMember
from bundle.document import RelativePath, Task
from components.export.parity import Parity
from components.export.recipe import ExportRecipe
from data.index import SampleIndex
from judging.evaluation import Evaluation
from judging.operating_point import Choice

SPLIT_NAMES = ("train", "val", "test")
DESCRIPTIONS: dict[Task, str] = {
    "segmentation": (
        "Marks the pixels of a photograph that were copied within it, spliced in from another picture or painted over, "
        "and says whether the photograph as a whole counts as forged."
    ),
    "classification": (
        "Says of a video or picture whether a face in it was manipulated, how probable that is for the whole and for "
        "each frame, and where a frame looks manipulated."
    ),
}
EVIDENCE = "A verdict is evidence for a person to weigh, not proof."
LIMITS: dict[Task, tuple[str, ...]] = {
    "segmentation": (
        "Forgeries of kinds that were not in the training data may be missed.",
        "Strong recompression, down-scaling and screenshots remove the traces the networks look for.",
        "Wholly generated pictures, retouching of colour and light, and misleading captions are not detected.",
        EVIDENCE,
    ),
    "classification": (
        "Manipulations of kinds that were not in the training data may be missed.",
        "Strong recompression, down-scaling and screen recordings remove the traces the networks look for.",
        "Only faces are judged: other changes to the picture, and those to sound or meaning, are not detected.",
        "A medium in which no face is found has no verdict.",
        "Faces of people who are rare in the training data may be judged less well.",
        EVIDENCE,
    ),
}
# What the networks of a task are given and how the verdict comes about.
HOW: dict[Task, str] = {
    "segmentation": (
        "A picture is judged at its own resolution in overlapping tiles. The probability of a pixel is the weighted "
        "mean of sigmoid(logit / temperature) over the members."
    ),
    "classification": (
        "A medium is judged by the faces found in it. The probability of a face is the weighted mean over the members "
        "of the mean of sigmoid(logit / temperature) over its clips, or over its frames where a member has no clips; "
        "that of a medium is its most suspicious face's."
    ),
}


@dataclass(frozen=True)
class CardFacts:
    """What the card tells beside the bundle's own document.

    Attributes:
        recipe: of the export.
        index: the data set the bundle was fitted on.
        choice: the ensemble's operating point.
        weights_note: how the weights came about.
        parity: every comparison of the gate.
        evaluation: of the same models; None where none was given.
    """

    recipe: ExportRecipe
    index: SampleIndex
    choice: Choice
    weights_note: str
    parity: Sequence[Parity]
    evaluation: Evaluation | None


def render_card(bundle: Bundle, facts: CardFacts) -> str:
    """Return the card as Markdown.

    Args:
        bundle: its document; the card's own entry is not looked at, since the card is what it describes.
        facts: what else there is to tell.
    """
    limits = facts.recipe.limits or LIMITS[bundle.task]
    sections = [
        f"# {bundle.name} {bundle.version}".rstrip(),
        facts.recipe.description or DESCRIPTIONS[bundle.task],
        _members(bundle),
        _data(facts.index),
        _operating_point(bundle, facts),
        _evaluation(facts),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
        _parity(facts),
        _files(bundle),
        f"## Licence\n\n{facts.recipe.licence}",
    ]
    return "\n\n".join(sections) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _members(bundle: Bundle) -> str:
    rows = [
        (
            member.name,
            member.family,
            _input(member),
            _number(member.weight),
            _number(member.temperature),
            _number(member.operating_point.threshold),
        )
        for member in bundle.members
    ]
    header = ("member", "family", "input", "weight", "temperature", "threshold")
    return f"## Members\n\n{HOW[bundle.task]}\n\n" + _table(header, rows)


def _input(member: BundleMember) -> str:
    clip = f", clips of {member.input.frames} frames" if member.clip_files else ""
    heatmap = f", heatmap of {' × '.join(map(str, member.heatmap_size))}" if member.heatmap_size else ""
    return f"{member.input.size} px, {member.input.channels} channels{clip}{heatmap}"


def _data(index: SampleIndex) -> str:
    rows = []
    for split in SPLIT_NAMES:
        part = index.where(split=split)
        label = part.column("label")
        groups = len(set(part.column("group_id")))
        media = len(set(part.column("media_id")))
        rows.append((split, len(part), int((label == 0).sum()), int((label == 1).sum()), media, groups))
    names = ", ".join(sorted(set(index.column("dataset"))))
    return (
        f"## Data\n\nData sets: {names}. Index sha256 `{index.sha256}`. Training, fitting and testing share no group "
        "of related media.\n\n" + _table(("split", "samples", "authentic", "forged", "media", "groups"), rows)
    )


def _operating_point(bundle: Bundle, facts: CardFacts) -> str:
    point = bundle.operating_point
    rows = [(name, _number(value)) for name, value in bundle.metrics.items()]
    when = (
        f"A medium counts as manipulated from a probability of {point.threshold:g} on."
        if bundle.task == "classification"
        else f"A pixel counts as forged from a probability of {point.threshold:g} on; a picture, when at least "
        f"{point.min_area_fraction:g} of its pixels do."
    )
    return (
        f"## Operating point\n\n{when} Chosen on val: {facts.choice.note}. "
        f"Weights: {facts.weights_note}.\n\n" + _table(("figure on val", "value"), rows)
    )


def _evaluation(facts: CardFacts) -> str:
    found = facts.evaluation
    if found is None:
        return "## Evaluation\n\nNo evaluation was given to the export; the figures above are of val."
    rows = [(name, _number(value)) for name, value in found.shown.items()]
    left = "AUC above chance" if found.figures.task == "classification" else "F1"
    rows.append((f"{left} left under the worst degradation", _number(found.figures.robustness)))
    shares = ", ".join(
        f"{name} weight {_number(share.weight)} temperature {_number(share.temperature)}"
        for name, share in found.members.items()
    )
    return (
        f"## Evaluation\n\nOn the test split, group {facts.recipe.evaluation_group}, at a threshold of "
        f"{_number(found.point.threshold)} with {shares}, as the evaluation step chose them.\n\n"
        + _table(("figure on test", "value"), rows)
    )


def _parity(facts: CardFacts) -> str:
    settings = facts.recipe.parity
    rows = [
        (p.member, p.output, p.format, p.batch_size, f"{p.difference:.2g}", f"{p.flipped_share:.2g}")
        for p in facts.parity
    ]
    return (
        "## Parity\n\nEvery exported network was compared with the trained one on real input of val. Tolerated: a "
        f"difference of {settings.max_logit_difference:g} in a logit and of {settings.max_heatmap_difference:g} in a "
        f"heatmap, and a share of {settings.max_flipped_share:g} of logits on the other side of the threshold.\n\n"
        + _table(("member", "output", "format", "batch", "largest difference", "flipped share"), rows)
    )


def _files(bundle: Bundle) -> str:
    paths: list[tuple[RelativePath, str, int]] = [
        (file.path, f"`{file.sha256}`", file.size) for file in bundle.all_files() if file.path != CARD_FILE
    ]
    made = ", ".join(f"{name} {version}" for name, version in sorted(bundle.made_with.items()))
    checkpoints = [(member.name, f"`{member.checkpoint_sha256}`") for member in bundle.members]
    what = "medium" if bundle.task == "classification" else "picture"
    return (
        f"## Files\n\nWritten from commit `{bundle.git_sha}` with {made}. Check them all with "
        f"`python -m bundle verify <folder>`; try one {what} with `python -m bundle judge <folder> "
        f"<{what}>`.\n\n"
        + _table(("file", "sha256", "bytes"), sorted(paths))
        + "\n\n"
        + _table(("checkpoint of", "sha256"), checkpoints)
    )
