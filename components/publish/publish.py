"""Publication: check, upload, read back, and only then move the pointer that servers follow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bundle import BUNDLE_FILE, Figures, Pointer, VerifiedBundle, read_bundle
from bundle.reading import verify_file
from bundle.releases import POINTER_FILE, evaluation_uri, pointer_in, release_uri
from components.publish.gate import Check, check_release, standard_of
from components.publish.recipe import PublishRecipe
from core.errors import MismatchError, StorageError, VeriframeError
from core.files import write_text
from core.settings import Settings, validate
from core.storage import PreconditionFailedError, Store, open_store
from tasks.evaluation import FIGURES_FILE, METRICS_FILE, Evaluation, read_evaluation
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
    compared: str
    """Which release the bundle was compared with and on what, or why with none."""

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
        evaluation: folder that the evaluation of this very bundle wrote.
        store: URI under which ``releases/`` lies.
        output: folder for ``decision.json``, which is written for a refused release too.
        recipe: gate, and what to do with a refusal.

    Raises:
        SettingsError: when the recipe's gate is not one of the bundle's task.
        RefusedError: when the gate refuses and the recipe says ``on_refusal: fail``.
        MismatchError: when the bundle or what was uploaded is not what its hashes say, the version exists with other
            content, or the evaluation is of another bundle.
        StorageError: when the store fails, refuses, or the pointer keeps moving.
    """
    verified = read_bundle(bundle)
    gate = validate(TASKS.get(verified.document.task).gate_settings, recipe.gate, "gate")
    evaluated = read_evaluation(evaluation)
    if evaluated.bundle.sha256 != verified.sha256:
        raise MismatchError(
            f"{evaluation} is of the bundle with sha256 {evaluated.bundle.sha256}, {bundle} has {verified.sha256}; "
            "evaluate the bundle that is to be published"
        )
    decision = _release(_Release(verified, bundle, evaluated, evaluation, store), gate, recipe.attempts)
    write_text(output / DECISION_FILE, json.dumps(decision.model_dump(mode="json"), indent=2) + "\n")
    if decision.failed and recipe.on_refusal == "fail":
        raise RefusedError(refusal(decision))
    return decision


def refusal(decision: Decision) -> str:
    """Return in words why a release was refused."""
    reasons = "\n".join(f"  {check}" for check in decision.failed)
    return f"{decision.name} {decision.version} is not released:\n{reasons}"


@dataclass(frozen=True)
class _Release:
    """What is to be released, and where.

    Attributes:
        bundle: as it was read.
        folder: where its files lie.
        evaluated: what was measured of it.
        measured: folder of that.
        root: URI under which ``releases/`` lies.
    """

    bundle: VerifiedBundle
    folder: Path
    evaluated: Evaluation
    measured: Path
    root: str

    @property
    def figures(self) -> Figures:
        """That it is gated by."""
        return Figures(
            task=self.evaluated.task,
            values=dict(self.evaluated.bundle.figures.gate),
            dataset_sha256=self.evaluated.dataset_sha256,
            degradations=self.evaluated.degradations,
        )

    def pointer(self, current: Pointer | None) -> Pointer:
        """Return the pointer that takes the place of the current one."""
        return Pointer(
            name=self.bundle.document.name,
            version=self.bundle.document.version,
            bundle_sha256=self.bundle.sha256,
            previous=current.version if current else None,
            figures=self.figures,
            evaluation_sha256=self.evaluated.sha256,
        )

    def upload(self) -> None:
        """Copy the bundle, and beside it what was measured of it."""
        document = self.bundle.document
        upload(self.bundle, self.folder, open_store(release_uri(self.root, document.name, document.version)))
        beside = open_store(evaluation_uri(self.root, document.name, document.version, self.evaluated.sha256))
        for name in (METRICS_FILE, FIGURES_FILE):
            if beside.head(name) is None:
                beside.upload(self.measured / name, name)


def _release(release: _Release, gate: GateSettings, attempts: int) -> Decision:
    document, sha256 = release.bundle.document, release.bundle.sha256
    pointers = open_store(release_uri(release.root, document.name))
    uploaded = False
    for _ in range(attempts):
        current, etag = pointer_in(pointers) or (None, None)
        standard, compared = standard_of(release.evaluated, release.figures, current)
        checks = check_release(release.figures, gate, standard)
        decision = Decision(
            decision="released" if all(check.passed for check in checks) else "refused",
            name=document.name,
            version=document.version,
            bundle_sha256=sha256,
            pointer=f"{pointers.uri}/{POINTER_FILE}",
            previous=current.version if current else None,
            figures=release.figures,
            checks=tuple(checks),
            compared=compared,
        )
        if decision.decision == "refused":
            return decision
        if not uploaded:
            release.upload()
            uploaded = True
        if current and (current.version, current.bundle_sha256) == (document.version, sha256):
            return decision.model_copy(update={"decision": "current"})
        if _move(pointers, release.pointer(current), etag):
            return decision
    raise StorageError(f"{pointers.uri}/{POINTER_FILE} was moved by others {attempts} times in a row; publish again")


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
