"""A member's networks as they are exported: taking them apart, writing them, and asking them before they are."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.document import CLIP, MODEL, BundleFile, ExportedNetwork, Format, network_path
from bundle.runtimes import Run, member_metadata
from components.export.formats import Exported, write
from media.spec import InputSpec
from media.tensors import TensorSpec
from models.inputs import Normalize
from models.network import Network, Part


def take_apart(network: Network, input_spec: InputSpec) -> dict[str, Exported]:
    """Return a member's networks by their names in the bundle, in evaluation mode; the network moves to the CPU.

    Args:
        network: whose weights they share.
        input_spec: what it reads.
    """
    module, outputs = network.cpu().frame_part()
    found = {MODEL: Exported(Part(module, input_spec.signature, outputs), Normalize(input_spec)).eval()}
    clip = network.clip_part(input_spec.frames)
    if clip is not None:
        found[CLIP] = Exported(clip).eval()
    return found


def write_member(
    networks: Mapping[str, Exported],
    folder: Path,
    member: str,
    *,
    bundle: str,
    classes: Sequence[str],
    input_spec: InputSpec,
    checkpoint: str,
    formats: Sequence[Format],
    opset: int,
) -> dict[str, ExportedNetwork]:
    """Write a member's networks in every format into a bundle's folder.

    Args:
        networks: by name, as ``take_apart`` returns them.
        folder: of the bundle.
        member: its name.
        bundle: name of the bundle.
        classes: names of the labels.
        input_spec: what the member reads.
        checkpoint: SHA-256 of the checkpoint that the networks come from.
        formats: what to write.
        opset: of ONNX.

    Returns:
        What ``BundleMember.networks`` holds.

    Raises:
        ExportError: when a network cannot be written.
    """
    described = {}
    for name, network in networks.items():
        metadata = member_metadata(bundle, member, name, classes=classes, input_spec=input_spec, checkpoint=checkpoint)
        paths = {kind: network_path(member, name, kind) for kind in formats}
        for kind, path in paths.items():
            write(network, kind, folder / path, metadata, opset)
        described[name] = ExportedNetwork(
            inputs=dict(network.inputs),
            outputs=_outputs(network),
            files={kind: describe_file(folder, path) for kind, path in paths.items()},
        )
    return described


def _outputs(network: Exported) -> dict[str, TensorSpec]:
    with torch.inference_mode():
        tensors = network(*network.examples())
    return {
        name: TensorSpec(datatype="FP32", shape=tuple(tensor.shape[1:]))
        for name, tensor in zip(network.outputs, tensors, strict=True)
    }


def describe_file(folder: Path, path: str) -> BundleFile:
    """Return the entry of a file that lies at ``path`` in a bundle's folder."""
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def eager_run(network: Exported) -> Run:
    """Return a network in the form in which exported ones are opened."""

    def run(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            tensors = network(*(torch.from_numpy(arrays[name]) for name in network.inputs))
        return {
            name: np.asarray(tensor.numpy(), dtype=np.float32)
            for name, tensor in zip(network.outputs, tensors, strict=True)
        }

    return run
