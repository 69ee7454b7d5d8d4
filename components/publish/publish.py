"""Publication: judge, upload, read back, and only then move the pointer that servers follow."""

import json
import math
from pathlib import Path
from typing import Literal

from bundle import BUNDLE_FILE, Bundle, Figures, Pointer, VerifiedBundle, read_bundle
from bundle.reading import verify_file
from bundle.releases import POINTER_FILE, pointer_in, release_uri
from components.publish.gate import Check, judge_release
from components.publish.recipe import PublishRecipe
from core.errors import MismatchError, StorageError, VeriframeError
from core.files import write_text
from core.settings import Settings
from core.storage import PreconditionFailedError, Store, open_store
from judging.evaluation import Evaluation, read_evaluation

DECISION_FILE = "decision.json"


class RefusedError(VeriframeError):
    """The gate refused a release; the message names each figure with its value and limit."""


class Decision(Settings):
    """What was decided, and by which figures; written as ``decision.json``.

    ``current`` means that this very release was current already. ``previous`` is the version that was current when
    the decision fell. ``differences`` say in what the ensemble that was evaluated is not quite the bundle's.
    """

    decision: Literal["released", "current", "refused"]
    name: str
    version: str
    bundle_sha256: str
    pointer: str
    previous: str | None
    figures: Figures
    checks: tuple[Check, ...]
    differences: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]


def publish(bundle: Path, evaluation: Path, store: str, output: Path, recipe: PublishRecipe) -> Decision:
    """Publish a bundle as ``<store>/releases/<name>/<version>/`` and make it the current release.

    Nothing is uploaded unless the gate passes. A version never changes once it is there: the same bundle may be
    published again, another one under the same version is an error. The pointer moves last, by a conditional write;
    if another publication moved it first, the gate judges again against what is current now.

    Args:
        bundle: folder that the export wrote.
        evaluation: folder that the evaluation of the same members wrote.
        store: URI under which ``releases/`` lies.
        output: folder for ``decision.json``, which is written for a refused release too.
        recipe: gate, and what to do with a refusal.

    Raises:
        RefusedError: when the gate refuses and the recipe says ``on_refusal: fail``.
        MismatchError: when the bundle or what was uploaded is not what its hashes say, the version exists with other
            content, or the evaluation is of other members.
        StorageError: when the store fails, refuses, or the pointer keeps moving.
    """
    verified = read_bundle(bundle)
    judged = read_evaluation(evaluation, recipe.evaluation_group)
    members = [member.name for member in verified.document.members]
    if sorted(members) != sorted(judged.members):
        raise MismatchError(
            f"{evaluation}, group {recipe.evaluation_group}, is of {', '.join(sorted(judged.members))}; the bundle "
            f"holds {', '.join(sorted(members))}: evaluate the models that were exported"
        )
    decision = _release(verified, bundle, judged, store, recipe)
    write_text(output / DECISION_FILE, json.dumps(decision.model_dump(mode="json"), indent=2) + "\n")
    if decision.failed and recipe.on_refusal == "fail":
        raise RefusedError(refusal(decision))
    return decision


def refusal(decision: Decision) -> str:
    """Return in words why a release was refused."""
    reasons = "\n".join(f"  {check}" for check in decision.failed)
    return f"{decision.name} {decision.version} is not released:\n{reasons}"


def _release(bundle: VerifiedBundle, folder: Path, judged: Evaluation, root: str, recipe: PublishRecipe) -> Decision:
    document = bundle.document
    pointers = open_store(release_uri(root, document.name))
    uploaded = False
    for _ in range(recipe.attempts):
        current, etag = pointer_in(pointers) or (None, None)
        checks = judge_release(judged.figures, recipe.gate, current)
        decision = Decision(
            decision="released" if all(check.passed for check in checks) else "refused",
            name=document.name,
            version=document.version,
            bundle_sha256=bundle.sha256,
            pointer=f"{pointers.uri}/{POINTER_FILE}",
            previous=current.version if current else None,
            figures=judged.figures,
            checks=tuple(checks),
            differences=tuple(differences(document, judged)),
        )
        if decision.decision == "refused":
            return decision
        if not uploaded:
            upload(bundle, folder, open_store(release_uri(root, document.name, document.version)))
            uploaded = True
        if current and (current.version, current.bundle_sha256) == (document.version, bundle.sha256):
            return decision.model_copy(update={"decision": "current"})
        if _move(pointers, _pointer(bundle, judged, current), etag):
            return decision
    raise StorageError(
        f"{pointers.uri}/{POINTER_FILE} was moved by others {recipe.attempts} times in a row; publish again"
    )


def differences(bundle: Bundle, judged: Evaluation) -> list[str]:
    """Say where the ensemble that was evaluated differs from the bundle's in weights, temperatures or threshold.

    The networks are the same, so the figures are close; but they are not the bundle's own, and a reader should know.
    """
    pairs = [
        pair
        for member in bundle.members
        for pair in (
            (f"weight of {member.name}", judged.members[member.name].weight, member.weight),
            (f"temperature of {member.name}", judged.members[member.name].temperature, member.temperature),
        )
    ]
    point = bundle.operating_point
    pairs += [
        ("threshold", judged.point.threshold, point.threshold),
        ("minimum area", judged.point.min_area_fraction, point.min_area_fraction),
    ]
    return [
        f"{name}: {evaluated:.4g} in the evaluation, {released:.4g} in the bundle"
        for name, evaluated, released in pairs
        if not math.isclose(evaluated, released, rel_tol=1e-3, abs_tol=1e-6)
    ]


def _pointer(bundle: VerifiedBundle, judged: Evaluation, current: Pointer | None) -> Pointer:
    return Pointer(
        name=bundle.document.name,
        version=bundle.document.version,
        bundle_sha256=bundle.sha256,
        previous=current.version if current else None,
        figures=judged.figures,
        evaluation_sha256=judged.sha256,
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
