"""Publication: check, upload, read back, and only then move the pointer that servers follow."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bundle import BUNDLE_FILE, Bundle, Figures, Pointer, VerifiedBundle, read_bundle
from bundle.reading import verify_file
from bundle.releases import POINTER_FILE, pointer_in, release_uri
from components.publish.gate import Check, check_release
from components.publish.recipe import PublishRecipe
from core.errors import MismatchError, StorageError, VeriframeError
from core.files import write_text
from core.settings import Settings, validate
from core.storage import PreconditionFailedError, Store, open_store
from tasks.evaluation import Evaluation, Share, read_evaluation
from tasks.settings import GateSettings
from tasks.task import TASKS

DECISION_FILE = "decision.json"


class RefusedError(VeriframeError):
    """The gate refused a release; the message names each figure with its value and limit."""


class Decision(Settings):
    """What was decided, and by which figures; written as ``decision.json``."""

    decision: Literal["released", "current", "refused"]
    """``current`` means that this very release was current already."""
    name: str
    """Of the bundle."""
    version: str
    """Of the bundle."""
    bundle_sha256: str
    """Of its ``bundle.json``."""
    pointer: str
    """URI of the pointer that servers follow."""
    previous: str | None
    """The version that was current when the decision fell."""
    figures: Figures
    """Of the bundle, from its evaluation."""
    checks: tuple[Check, ...]
    """All that the gate asks for."""
    differences: tuple[str, ...] = ()
    """In what the ensemble that was evaluated is not quite the bundle's."""

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]


def publish(bundle: Path, evaluation: Path, store: str, output: Path, recipe: PublishRecipe) -> Decision:
    """Publish a bundle as ``<store>/releases/<name>/<version>/`` and make it the current release.

    Nothing is uploaded unless the gate passes. A version never changes once it is there: the same bundle may be
    published again, another one under the same version is an error. The pointer moves last, by a conditional write;
    if another publication moved it first, the gate checks again against what is current now.

    Args:
        bundle: folder that the export wrote.
        evaluation: folder that the evaluation of the same members wrote.
        store: URI under which ``releases/`` lies.
        output: folder for ``decision.json``, which is written for a refused release too.
        recipe: gate, and what to do with a refusal.

    Raises:
        SettingsError: when the recipe's gate is not one of the bundle's task.
        RefusedError: when the gate refuses and the recipe says ``on_refusal: fail``.
        MismatchError: when the bundle or what was uploaded is not what its hashes say, the version exists with other
            content, or the evaluation is of other members or another task.
        StorageError: when the store fails, refuses, or the pointer keeps moving.
    """
    verified = read_bundle(bundle)
    gate = validate(TASKS.get(verified.document.task).gate_settings, recipe.gate, "gate")
    evaluated = read_evaluation(evaluation, recipe.evaluation_group)
    _require_same(verified.document, evaluated, evaluation)
    decision = _release(verified, bundle, evaluated, store, gate, recipe.attempts)
    write_text(output / DECISION_FILE, json.dumps(decision.model_dump(mode="json"), indent=2) + "\n")
    if decision.failed and recipe.on_refusal == "fail":
        raise RefusedError(refusal(decision))
    return decision


def refusal(decision: Decision) -> str:
    """Return in words why a release was refused."""
    reasons = "\n".join(f"  {check}" for check in decision.failed)
    return f"{decision.name} {decision.version} is not released:\n{reasons}"


def _require_same(bundle: Bundle, evaluated: Evaluation, origin: Path) -> None:
    if evaluated.task != bundle.task:
        raise MismatchError(f"{origin} is of task {evaluated.task}, the bundle of {bundle.task}")
    members = [member.name for member in bundle.members]
    if sorted(members) != sorted(evaluated.members):
        raise MismatchError(
            f"{origin}, group {evaluated.group}, is of {', '.join(sorted(evaluated.members))}; the bundle "
            f"holds {', '.join(sorted(members))}: evaluate the models that were exported"
        )


def _release(
    bundle: VerifiedBundle, folder: Path, evaluated: Evaluation, root: str, gate: GateSettings, attempts: int
) -> Decision:
    document = bundle.document
    figures = Figures(task=evaluated.task, values=dict(evaluated.figures.gate))
    pointers = open_store(release_uri(root, document.name))
    uploaded = False
    for _ in range(attempts):
        current, etag = pointer_in(pointers) or (None, None)
        checks = check_release(figures, gate, current)
        decision = Decision(
            decision="released" if all(check.passed for check in checks) else "refused",
            name=document.name,
            version=document.version,
            bundle_sha256=bundle.sha256,
            pointer=f"{pointers.uri}/{POINTER_FILE}",
            previous=current.version if current else None,
            figures=figures,
            checks=tuple(checks),
            differences=tuple(differences(document, evaluated)),
        )
        if decision.decision == "refused":
            return decision
        if not uploaded:
            upload(bundle, folder, open_store(release_uri(root, document.name, document.version)))
            uploaded = True
        if current and (current.version, current.bundle_sha256) == (document.version, bundle.sha256):
            return decision.model_copy(update={"decision": "current"})
        if _move(pointers, _pointer(bundle, evaluated, figures, current), etag):
            return decision
    raise StorageError(f"{pointers.uri}/{POINTER_FILE} was moved by others {attempts} times in a row; publish again")


def differences(bundle: Bundle, evaluated: Evaluation) -> list[str]:
    """Say where the ensemble that was evaluated differs from the bundle's in weights, temperatures or decision.

    The networks are the same, so the figures are close; but they are not the bundle's own, and a reader should know.
    """
    released = {member.name: Share(member.weight, member.temperature) for member in bundle.members}
    return _differing(
        {**_parts(evaluated.members), **evaluated.decision},
        {**_parts(released), **bundle.decision.model_dump(mode="json")},
    )


def _parts(members: Mapping[str, Share]) -> dict[str, float]:
    return {
        f"{what} of {name}": getattr(share, what)
        for name, share in sorted(members.items())
        for what in ("weight", "temperature")
    }


def _differing(evaluated: Mapping[str, Any], released: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that is another in the bundle, or that only one of the two has."""
    lines = []
    for name in dict.fromkeys([*evaluated, *released]):
        ours, theirs = evaluated.get(name), released.get(name)
        if not _close(ours, theirs):
            lines.append(f"{name.replace('_', ' ')}: {_shown(ours)} in the evaluation, {_shown(theirs)} in the bundle")
    return lines


def _close(first: Any, second: Any) -> bool:
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-3, abs_tol=1e-6)
    return bool(first == second)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pointer(bundle: VerifiedBundle, evaluated: Evaluation, figures: Figures, current: Pointer | None) -> Pointer:
    return Pointer(
        name=bundle.document.name,
        version=bundle.document.version,
        bundle_sha256=bundle.sha256,
        previous=current.version if current else None,
        figures=figures,
        evaluation_sha256=evaluated.sha256,
    )


def _move(store: Store, pointer: Pointer, etag: str | None) -> bool:
    """Write the pointer unless somebody else has since it was read; say whether it was written."""
    data = (json.dumps(pointer.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
    try:
        store.write(POINTER_FILE, data, if_absent=etag is None, if_match=etag)
    except PreconditionFailedError:
        return False
    return True


def upload(bundle: VerifiedBundle, folder: Path, store: Store) -> None:
    """Copy a bundle into its version's folder and read all of it back.

    ``bundle.json`` goes first and only where there is none: it claims the version, so that of two different bundles
    under one version the second fails before it has written anything. Files that are there and right, from an upload
    that was cut off, are kept.

    Args:
        bundle: as it was read.
        folder: where its files lie.
        store: rooted at the version's folder.

    Raises:
        MismatchError: when the version belongs to another bundle, or what is read back is not what was sent.
    """
    data = bundle.store.read(BUNDLE_FILE)
    try:
        store.write(BUNDLE_FILE, data, if_absent=True)
    except PreconditionFailedError:
        if store.read(BUNDLE_FILE) != data:
            raise MismatchError(
                f"{store.uri} holds another bundle; a published version never changes, so export under a new one"
            ) from None
    for file in bundle.document.all_files():
        try:
            verify_file(store, file)
        except MismatchError:
            store.upload(folder / file.path, file.path, progress=True)
    written = read_bundle(store)
    if written.sha256 != bundle.sha256:
        raise MismatchError(
            f"{store.uri}/{BUNDLE_FILE} was read back with sha256 {written.sha256}, not {bundle.sha256}"
        )
