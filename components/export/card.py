"""The model card: what a person must know of a bundle before relying on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bundle.document import CARD_FILE, CLIP, HEATMAP, Bundle, BundleMember, RelativePath
from components.export.parity import Parity
from core.settings import Settings
from data.index import SampleIndex
from judging.choice import Choice
from judging.markdown import markdown_table, number
from tasks.settings import ExportSettings
from tasks.task import ENSEMBLE, CardTexts

SPLIT_NAMES = ("train", "val", "test")
EVALUATION = (
    "## Evaluation\n\nThe figures on test are those of this very bundle and are measured after it is written: "
    "`python -m components.evaluate` writes them as `figures.md`, and publication lays them beside the release, under "
    "`evaluations/`."
)


@dataclass(frozen=True)
class CardFacts:
    """What the card tells beside the bundle's own document.

    Attributes:
        texts: of the task.
        settings: of the export.
        index: the data set the bundle was fitted on.
        choice: the ensemble's.
        weights_note: how the weights came about.
        parity: every comparison of the gate.
    """

    texts: CardTexts
    settings: ExportSettings
    index: SampleIndex
    choice: Choice
    weights_note: str
    parity: Sequence[Parity]


def render_card(bundle: Bundle, facts: CardFacts) -> str:
    """Return the card as Markdown.

    Args:
        bundle: its document; the card's own entry is not looked at, since the card is what it describes.
        facts: what else there is to tell.
    """
    limits = facts.settings.limits or facts.texts.limits
    sections = [
        f"# {bundle.name} {bundle.version}".rstrip(),
        facts.settings.description or facts.texts.description,
        _members(bundle, facts.texts),
        _data(facts.index, bundle.classes),
        _operating_point(bundle, facts),
        EVALUATION,
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
        _parity(facts),
        *_int8(bundle),
        _files(bundle, facts.texts),
        f"## Licence\n\n{facts.settings.licence}",
    ]
    return "\n\n".join(sections) + "\n"


def _decided(decision: Settings) -> dict[str, float]:
    """Return the numbers of a decision by name."""
    return decision.model_dump()


def _members(bundle: Bundle, texts: CardTexts) -> str:
    rows = [
        (
            member.name,
            member.family,
            _input(member),
            number(member.weight),
            number(member.temperature),
            *map(number, _decided(member.decision).values()),
        )
        for member in bundle.members
    ]
    header = ("member", "family", "input", "weight", "temperature", *_decided(bundle.decision))
    return f"## Members\n\n{texts.how}\n\n" + markdown_table(header, rows)


def _input(member: BundleMember) -> str:
    parts = [f"{name} {_size(view.tensor.shape)}" for name, view in member.input.views.items()]
    if CLIP in member.networks:
        parts.append(f"clips of {member.input.frames} frames")
    if HEATMAP in member.model.outputs:
        parts.append(f"heatmap of {_size(member.model.outputs[HEATMAP].shape[1:])}")
    return ", ".join(parts)


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _data(index: SampleIndex, classes: Sequence[str]) -> str:
    rows = []
    for split in SPLIT_NAMES:
        part = index.where(split=split)
        label = part.column("label")
        counts = [int((label == number).sum()) for number in range(len(classes))]
        groups = len(set(part.column("group_id")))
        media = len(set(part.column("media_id")))
        rows.append((split, len(part), *counts, media, groups))
    names = ", ".join(sorted(set(index.column("dataset"))))
    return (
        f"## Data\n\nData sets: {names}. Index sha256 `{index.sha256}`. Training, fitting and testing share no group "
        "of related media.\n\n" + markdown_table(("split", "samples", *classes, "media", "groups"), rows)
    )


def _operating_point(bundle: Bundle, facts: CardFacts) -> str:
    owners = {ENSEMBLE: bundle.metrics} | {member.name: member.metrics for member in bundle.members}
    rows = [(name, *(number(metrics.get(name)) for metrics in owners.values())) for name in bundle.metrics]
    return (
        f"## Operating point\n\n{facts.texts.decision(bundle.decision)} Chosen on val: {facts.choice.note}. "
        f"Weights: {facts.weights_note}.\n\n" + markdown_table(("figure on val", *owners), rows)
    )


def _parity(facts: CardFacts) -> str:
    settings = facts.settings.parity
    rows = [
        (p.member, p.output, p.format, p.batch_size, f"{p.difference:.2g}", f"{p.flipped_share:.2g}")
        for p in facts.parity
    ]
    return (
        "## Parity\n\nEvery exported network was compared with the trained one on real input of val. Tolerated: a "
        f"difference of {settings.max_logit_difference:g} in a logit and of {settings.max_heatmap_difference:g} in a "
        f"heatmap, and a share of {settings.max_flipped_share:g} of logits on the other side of the threshold.\n\n"
        + markdown_table(("member", "output", "format", "batch", "largest difference", "flipped share"), rows)
    )


def _int8(bundle: Bundle) -> list[str]:
    """Return what came of writing members in INT8; nothing where it was not asked for."""
    rows = [
        (
            member.name,
            one.figure,
            number(one.fp32),
            number(one.int8),
            f"{one.speedup:.2f}",
            one.refused or "yes",
        )
        for member in bundle.members
        if (one := member.int8) is not None
    ]
    if not rows:
        return []
    text = (
        "## INT8\n\nNetworks in INT8 lie beside the float ones and are run only by a server with `--precision int8`. "
        "They were calibrated and judged on val, each member by itself against its float ONNX; the throughput is a "
        "multiple of that one's on the processor that exported. All other figures here are of the float networks."
    )
    header = ("member", "figure on val", "float", "INT8", "throughput", "written")
    return [f"{text}\n\n" + markdown_table(header, rows)]


def _files(bundle: Bundle, texts: CardTexts) -> str:
    paths: list[tuple[RelativePath, str, int]] = [
        (file.path, f"`{file.sha256}`", file.size) for file in bundle.all_files() if file.path != CARD_FILE
    ]
    made = ", ".join(f"{name} {version}" for name, version in sorted(bundle.made_with.items()))
    checkpoints = [(member.name, f"`{member.checkpoint_sha256}`") for member in bundle.members]
    return (
        f"## Files\n\nWritten from commit `{bundle.git_sha}` with {made}. Check them all with "
        f"`python -m bundle verify <folder>`; try one {texts.medium} with `python -m bundle judge "
        f"<folder> <{texts.medium}>`.\n\n"
        + markdown_table(("file", "sha256", "bytes"), sorted(paths))
        + "\n\n"
        + markdown_table(("checkpoint of", "sha256"), checkpoints)
    )
