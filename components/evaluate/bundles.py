"""The bundles that an evaluation judges: the one that is to be released, and the one that is."""

from collections.abc import Sequence
from pathlib import Path

from bundle import Format, VerifiedBundle, fetch_release, open_networks, read_pointer
from core.errors import MismatchError
from data.index import read_sample_spec
from media.spec import require_suitable
from tasks.settings import EvaluateSettings
from tasks.task import ExportedBundle


def open_bundle(bundle: VerifiedBundle, settings: EvaluateSettings) -> ExportedBundle:
    """Open a bundle's networks through the runtime that the settings name.

    Raises:
        SettingsError: when the bundle does not hold what the runtime needs, or its library is not installed.
        MismatchError: when a file was altered.
    """
    device = settings.inference.torch_device()
    runtime = settings.runtime or _runtime(bundle.document.formats, device.type)
    return ExportedBundle(bundle, runtime, open_networks(bundle, runtime, device=str(device)))


def _runtime(held: Sequence[Format], device: str) -> Format:
    """Return what serves a bundle on a device: an installation for GPUs has torch, not always ONNX Runtime for them."""
    preferred: tuple[Format, ...] = ("torchscript", "onnx") if device == "cuda" else ("onnx", "torchscript")
    return next((kind for kind in preferred if kind in held), held[0])


def fetch_current(store: str, bundle: VerifiedBundle, folder: Path) -> VerifiedBundle | None:
    """Fetch what is released at present under a bundle's name.

    Args:
        store: URI under which ``releases/`` lies.
        bundle: that is to be released.
        folder: where to.

    Returns:
        None where nothing is released yet, or this very bundle is.

    Raises:
        MismatchError: when a file is not what the pointer and ``bundle.json`` say.
        StorageError: when the store cannot be read.
    """
    name = bundle.document.name
    found = read_pointer(store, name)
    if found is None or found[0].bundle_sha256 == bundle.sha256:
        return None
    return fetch_release(store, name, folder)


def unsuitable(current: VerifiedBundle, bundle: VerifiedBundle, datasets: Sequence[Path]) -> str:
    """Say why what is released cannot be judged beside a bundle; "" where it can."""
    if current.document.task != bundle.document.task:
        return f"it is of the task {current.document.task}"
    try:
        require_bundle(current, datasets)
    except MismatchError as error:
        return str(error)
    return ""


def require_bundle(bundle: VerifiedBundle, datasets: Sequence[Path]) -> None:
    """Check that data sets show what a bundle's members read.

    Raises:
        BadInputError: ``not-an-index`` when a data set cannot be read.
        MismatchError: naming both sides.
    """
    document = bundle.document
    for path in dict.fromkeys(datasets):
        extraction = read_sample_spec(path).extraction
        for member in document.members:
            name = f"member {member.name} of the bundle {document.name} {document.version}"
            require_suitable(member.input, name, extraction, str(path))
