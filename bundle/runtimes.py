"""Opening a bundle's networks with TorchScript or ONNX Runtime; each library is imported only when it is asked for."""

import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import BundleMember, ExportedNetwork, Format, Precision
from bundle.reading import VerifiedBundle
from core.errors import MismatchError, SettingsError, unknown_name
from media.spec import InputSpec

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[np.float32]]]
"""A network: a batch of its input arrays by name to its output arrays by name, for any batch size B ≥ 1."""
Networks = Mapping[str, Run]
"""A member's networks by their names in the bundle: ``model``, and ``clip`` where there is one."""

METADATA_KEY = "veriframe.json"  # name of the extra file in a TorchScript archive and of the property in ONNX


def member_metadata(
    bundle_name: str, member: str, network: str, *, classes: Sequence[str], input_spec: InputSpec, checkpoint: str
) -> str:
    """Return the JSON that travels inside each exported network, so that a file out of its bundle can be identified.

    Args:
        bundle_name: of the bundle.
        member: whose network it is.
        network: its name, such as ``model``.
        classes: names of the labels.
        input_spec: what the member reads.
        checkpoint: SHA-256 of the checkpoint it was exported from.
    """
    fields = {
        "bundle": bundle_name,
        "member": member,
        "network": network,
        "classes": list(classes),
        "checkpoint_sha256": checkpoint,
        "input": input_spec.model_dump(mode="json"),
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def open_networks(
    bundle: VerifiedBundle,
    kind: Format,
    *,
    device: str = "cpu",
    threads: int | None = None,
    precision: Precision = "fp32",
) -> dict[str, dict[str, Run]]:
    """Load every network of every member.

    Each is loaded from bytes whose hash was checked, never from a file that may have changed in between.

    Args:
        bundle: as ``read_bundle`` returns it.
        kind: ``torchscript`` (imports torch) or ``onnx`` (imports onnxruntime and no torch).
        device: ``cpu``, or ``cuda`` (``cuda:1``).
        threads: of one forward pass on the CPU; None leaves the library's default.
        precision: ``int8`` takes the networks in INT8, and the float ones of members and parts that have none.

    Returns:
        By member, by the network's name, the network.

    Raises:
        SettingsError: for a kind that the bundle does not hold or whose library is not installed; for ``int8`` where
            nothing is, or with another runtime than ONNX on the CPU.
        MismatchError: when a file was altered, or is another network; names the file.
    """
    openers = {"torchscript": _open_torchscript, "onnx": _open_onnx}
    if kind not in openers:
        raise unknown_name("runtime", kind, openers)
    if kind not in bundle.document.formats:
        raise SettingsError(f"{bundle.store.uri} holds no {kind}; it holds {', '.join(bundle.document.formats)}")

    if precision == "int8":
        _require_int8(bundle, kind, device)

    def opened(member: BundleMember, name: str, network: ExportedNetwork) -> Run:
        file = network.int8 if precision == "int8" and network.int8 else network.files[kind]
        run, metadata = openers[kind](network, bundle.read(file), file.path, device, threads)
        _require_network(bundle, member, name, metadata, file.path)
        return run

    return {
        member.name: {name: opened(member, name, network) for name, network in member.networks.items()}
        for member in bundle.document.members
    }


def _require_int8(bundle: VerifiedBundle, kind: Format, device: str) -> None:
    if (kind, device) != ("onnx", "cpu"):
        raise SettingsError(f"precision 'int8' runs on runtime 'onnx' and device 'cpu', not on {kind!r} and {device!r}")
    outcomes = {member.name: member.int8 for member in bundle.document.members}
    if all(outcome is None or outcome.refused for outcome in outcomes.values()):
        reasons = "; ".join(f"{name}: {one.refused}" for name, one in outcomes.items() if one is not None)
        why = reasons or "export it with the key int8"
        raise SettingsError(f"{bundle.store.uri} holds no network in INT8 ({why}); use precision 'fp32'")


def _open_torchscript(
    network: ExportedNetwork, data: bytes, path: str, device: str, threads: int | None
) -> tuple[Run, str | bytes]:
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
            script = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(data), map_location=device, _extra_files=extra
            )
        except Exception as error:
            raise _unopened(path, error) from error

    def run(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            tensors = script(*(torch.from_numpy(arrays[name]).to(device) for name in network.inputs))
            return {
                name: np.asarray(tensor.cpu().numpy(), dtype=np.float32)
                for name, tensor in zip(network.outputs, tensors, strict=True)
            }

    return run, extra[METADATA_KEY]


def _open_onnx(
    network: ExportedNetwork, data: bytes, path: str, device: str, threads: int | None
) -> tuple[Run, str | bytes]:
    """Return the network and its metadata."""
    disable_telemetry()
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

    outputs = list(network.outputs)

    def run(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        values = session.run(outputs, {name: arrays[name] for name in network.inputs})
        return {name: np.asarray(value, dtype=np.float32) for name, value in zip(outputs, values, strict=True)}

    return run, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")


def disable_telemetry() -> None:
    """Keep ONNX Runtime to itself; to be called before it is imported.

    Else the official builds report what they run to their maker, and leave an identifier of the machine in the home
    folder.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _unopened(path: str, error: Exception) -> MismatchError:
    # The libraries raise anything from RuntimeError to classes of their own, and none of them names the file.
    return MismatchError(f"{path} cannot be opened: {' '.join(str(error).split())}")


def _require_network(
    bundle: VerifiedBundle, member: BundleMember, network: str, metadata: str | bytes, path: str
) -> None:
    text = metadata.decode() if isinstance(metadata, bytes) else metadata
    expected = member_metadata(
        bundle.document.name,
        member.name,
        network,
        classes=bundle.document.classes,
        input_spec=member.input,
        checkpoint=member.checkpoint_sha256,
    )
    if text != expected:
        raise MismatchError(f"{path} is the network of {text or 'nothing known'}, bundle.json describes {expected}")
