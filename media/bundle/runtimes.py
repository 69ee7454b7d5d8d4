"""Opening a bundle's networks with TorchScript or ONNX Runtime; each library is imported only when it is asked for."""

import io
import json
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.bundle.document import Bundle, BundleMember, Format
from media.bundle.reading import VerifiedBundle
from media.errors import MismatchError, SettingsError, unknown_name

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

METADATA_KEY = "veriframe.json"  # name of the extra file in a TorchScript archive and of the property in ONNX


def member_metadata(bundle_name: str, member: str, labels: tuple[str, ...], input_json: str, checkpoint: str) -> str:
    """Return the JSON that travels inside each exported network, so that a file out of its bundle can be identified."""
    fields = {"bundle": bundle_name, "member": member, "labels": labels, "checkpoint_sha256": checkpoint}
    return json.dumps({**fields, "input": json.loads(input_json)}, sort_keys=True, separators=(",", ":"))


def open_runtime(
    bundle: VerifiedBundle, kind: Format, *, device: str = "cpu", threads: int | None = None
) -> dict[str, Run]:
    """Load every member's network.

    Each is loaded from bytes whose hash was checked, never from a file that may have changed in between.

    Args:
        bundle: as ``read_bundle`` returns it.
        kind: ``torchscript`` (imports torch) or ``onnx`` (imports onnxruntime and no torch).
        device: ``cpu``, or ``cuda`` (``cuda:1``).
        threads: of one forward pass on the CPU; None leaves the library's default.

    Returns:
        By member name a function from uint8 [B, C, S, S] to float32 logits [B, 1, S, S], for any B ≥ 1.

    Raises:
        SettingsError: for a kind the bundle does not hold or whose library is not installed.
        MismatchError: when a file was altered, or is the network of another member.
    """
    opened = {"torchscript": _open_torchscript, "onnx": _open_onnx}
    if kind not in opened:
        raise unknown_name("runtime", kind, opened)
    if kind not in bundle.document.formats:
        raise SettingsError(f"{bundle.store.uri} holds no {kind}; it holds {', '.join(bundle.document.formats)}")
    runs = {}
    for member in bundle.document.members:
        runs[member.name] = opened[kind](bundle, member, device, threads)
    return runs


def _open_torchscript(bundle: VerifiedBundle, member: BundleMember, device: str, threads: int | None) -> Run:
    try:
        import torch
    except ModuleNotFoundError:
        raise SettingsError("runtime 'torchscript' needs torch, which is not installed; use runtime 'onnx'") from None
    if threads is not None:
        torch.set_num_threads(threads)
    extra = {METADATA_KEY: ""}
    data = io.BytesIO(bundle.read(member.files["torchscript"]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=Warning)
        try:
            network = torch.jit.load(data, map_location=device, _extra_files=extra)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise _unopened(member.files["torchscript"].path, error) from error
    _require_member(bundle.document, member, extra[METADATA_KEY], member.files["torchscript"].path)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: Any = network(torch.from_numpy(pixels).to(device))
            return np.asarray(logits.cpu().numpy(), dtype=np.float32)

    return run


def _open_onnx(bundle: VerifiedBundle, member: BundleMember, device: str, threads: int | None) -> Run:
    # The official builds report what they run to their maker, and leave an identifier of the machine in the home
    # folder, unless this is set before they are imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise SettingsError("runtime 'onnx' needs onnxruntime, which is not installed") from None
    provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise SettingsError(f"this onnxruntime cannot run on {device!r}; install onnxruntime-gpu or use device 'cpu'")
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    data = bundle.read(member.files["onnx"])
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:
        raise _unopened(member.files["onnx"].path, error) from error
    metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
    _require_member(bundle.document, member, metadata, member.files["onnx"].path)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run(["logits"], {"pixels": pixels})[0], dtype=np.float32)

    return run


def _unopened(path: str, error: Exception) -> MismatchError:
    # The libraries raise anything from RuntimeError to classes of their own, and none of them names the file.
    return MismatchError(f"{path} cannot be opened: {' '.join(str(error).split())}")


def _require_member(document: Bundle, member: BundleMember, metadata: str | bytes, path: str) -> None:
    text = metadata.decode() if isinstance(metadata, bytes) else metadata
    expected = member_metadata(
        document.name, member.name, member.labels, member.input.to_json(), member.checkpoint_sha256
    )
    if text != expected:
        raise MismatchError(f"{path} says it is {text or 'nothing'}, bundle.json says {expected}")
