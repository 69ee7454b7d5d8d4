"""Opening a bundle's networks with TorchScript or ONNX Runtime; each library is imported only when it is asked for."""

import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import Bundle, BundleFile, BundleMember, Format
from bundle.reading import VerifiedBundle
from core.errors import MismatchError, SettingsError, unknown_name

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
RunFrames = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
RunClips = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
Network = Callable[..., list[NDArray[np.float32]]]  # arrays in, arrays out, in the order of the file's own

METADATA_KEY = "veriframe.json"  # name of the extra file in a TorchScript archive and of the property in ONNX


@dataclass(frozen=True)
class FaceRun:
    """A classifier of faces as a runtime opened it, for any batch size B ≥ 1.

    Attributes:
        frames: pixels uint8 [B, C, S, S] to float32 arrays by the names of the member's ``outputs``: ``logits`` [B, 1],
            ``vectors`` [B, D], ``heatmap`` [B, 1, h, w] in 0..1.
        clip: vectors float32 [B, T, D], padded at the end to the T of ``input.frames``, and lengths int64 [B] in 1..T,
            to logits float32 [B, 1]; None for a member without clips.
    """

    frames: RunFrames
    clip: RunClips | None = None


def member_metadata(
    bundle_name: str, member: str, labels: tuple[str, ...], input_json: str, checkpoint: str, part: str = ""
) -> str:
    """Return the JSON that travels inside each exported network, so that a file out of its bundle can be identified.

    ``part`` is ``clip`` in a member's second network.
    """
    fields: dict[str, Any] = {"bundle": bundle_name, "member": member, "labels": labels}
    fields |= {"checkpoint_sha256": checkpoint} | ({"part": part} if part else {})
    return json.dumps({**fields, "input": json.loads(input_json)}, sort_keys=True, separators=(",", ":"))


def open_runtime(
    bundle: VerifiedBundle, kind: Format, *, device: str = "cpu", threads: int | None = None
) -> dict[str, Run]:
    """Load the network of every member that marks regions.

    Each is loaded from bytes whose hash was checked, never from a file that may have changed in between.

    Args:
        bundle: as ``read_bundle`` returns it, of the task ``segmentation``.
        kind: ``torchscript`` (imports torch) or ``onnx`` (imports onnxruntime and no torch).
        device: ``cpu``, or ``cuda`` (``cuda:1``).
        threads: of one forward pass on the CPU; None leaves the library's default.

    Returns:
        By member name a function from uint8 [B, C, S, S] to float32 logits [B, 1, S, S], for any B ≥ 1.

    Raises:
        SettingsError: for a kind the bundle does not hold or whose library is not installed, or another task.
        MismatchError: when a file was altered, or is the network of another member.
    """
    opener = _Opener(bundle, kind, device, threads, task="segmentation")
    return {member.name: _first(opener.frames(member)) for member in bundle.document.members}


def open_faces(
    bundle: VerifiedBundle, kind: Format, *, device: str = "cpu", threads: int | None = None
) -> dict[str, FaceRun]:
    """Load the networks of every classifier of faces; arguments and errors are those of ``open_runtime``.

    Returns:
        By member name its network of frames and, where it has one, of clips.
    """
    opener = _Opener(bundle, kind, device, threads, task="classification")
    return {
        member.name: FaceRun(
            _named(opener.frames(member), member.outputs),
            _first(opener.clips(member)) if member.clip_files else None,
        )
        for member in bundle.document.members
    }


def _first(network: Network) -> Callable[..., NDArray[np.float32]]:
    return lambda *arrays: network(*arrays)[0]


def _named(network: Network, outputs: Sequence[str]) -> RunFrames:
    return lambda pixels: dict(zip(outputs, network(pixels), strict=True))


class _Opener:
    """Opens the files of one bundle in one format; checks first that it can."""

    def __init__(self, bundle: VerifiedBundle, kind: Format, device: str, threads: int | None, *, task: str) -> None:
        opened = {"torchscript": _open_torchscript, "onnx": _open_onnx}
        if kind not in opened:
            raise unknown_name("runtime", kind, opened)
        if kind not in bundle.document.formats:
            raise SettingsError(f"{bundle.store.uri} holds no {kind}; it holds {', '.join(bundle.document.formats)}")
        if bundle.document.task != task:
            raise SettingsError(f"{bundle.store.uri} is a bundle for {bundle.document.task}, not for {task}")
        self._bundle = bundle
        self._kind = kind
        self._open = opened[kind]
        self._device = device
        self._threads = threads

    def frames(self, member: BundleMember) -> Network:
        """Open a member's network of pixels."""
        return self._network(member, member.files[self._kind])

    def clips(self, member: BundleMember) -> Network:
        """Open a member's network of clips."""
        return self._network(member, member.clip_files[self._kind], "clip")

    def _network(self, member: BundleMember, file: BundleFile, part: str = "") -> Network:
        network, metadata = self._open(self._bundle.read(file), file.path, self._device, self._threads)
        _require_member(self._bundle.document, member, metadata, file.path, part)
        return network


def _open_torchscript(data: bytes, path: str, device: str, threads: int | None) -> tuple[Network, str | bytes]:
    """Return the network and its metadata."""
    try:
        import torch
    except ModuleNotFoundError:
        raise SettingsError("runtime 'torchscript' needs torch, which is not installed; use runtime 'onnx'") from None
    if threads is not None:
        torch.set_num_threads(threads)
    extra: dict[str, str | bytes] = {METADATA_KEY: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=Warning)
        try:
            network = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(data), map_location=device, _extra_files=extra
            )
        except Exception as error:
            raise _unopened(path, error) from error

    def run(*arrays: NDArray[Any]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            found: Any = network(*(torch.from_numpy(array).to(device) for array in arrays))
            found = found if isinstance(found, tuple) else (found,)
            return [np.asarray(one.cpu().numpy(), dtype=np.float32) for one in found]

    return run, extra[METADATA_KEY]


def _open_onnx(data: bytes, path: str, device: str, threads: int | None) -> tuple[Network, str | bytes]:
    """Return the network and its metadata."""
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
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:
        raise _unopened(path, error) from error

    names = [given.name for given in session.get_inputs()]

    def run(*arrays: NDArray[Any]) -> list[NDArray[np.float32]]:
        found = session.run(None, dict(zip(names, arrays, strict=True)))
        return [np.asarray(one, dtype=np.float32) for one in found]

    return run, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")


def _unopened(path: str, error: Exception) -> MismatchError:
    # The libraries raise anything from RuntimeError to classes of their own, and none of them names the file.
    return MismatchError(f"{path} cannot be opened: {' '.join(str(error).split())}")


def _require_member(document: Bundle, member: BundleMember, metadata: str | bytes, path: str, part: str) -> None:
    text = metadata.decode() if isinstance(metadata, bytes) else metadata
    expected = member_metadata(
        document.name, member.name, member.labels, member.input.to_json(), member.checkpoint_sha256, part
    )
    if text != expected:
        raise MismatchError(f"{path} says it is {text or 'nothing'}, bundle.json says {expected}")
