"""The name people use it by: a thin API over the rooms below it.

>>> import veriframe
>>> veriframe.analyze("build/demo/bundle", "picture.jpg")["verdict"]
'forged'
"""

from pathlib import Path
from typing import Any

from bundle.document import Format
from bundle.reading import read_bundle
from bundle.runtimes import open_networks
from bundle.task import BUNDLE_TASKS
from core.files import read_bytes

__all__ = ["analyze"]


def analyze(bundle: str | Path, file: str | Path, *, runtime: Format = "onnx", device: str = "cpu") -> dict[str, Any]:
    """Analyze a picture or a video with a bundle, in this process.

    Args:
        bundle: folder with ``bundle.json``; every file's hash is checked before it is loaded.
        file: a medium of the kind that the bundle is for.
        runtime: ``onnx``, or ``torchscript``, which needs torch.
        device: ``cpu``, or ``cuda``.

    Returns:
        The verdict as plain values, as ``python -m bundle judge`` prints them.

    Raises:
        VeriframeError: when the bundle or the file cannot be used; the message says why and what to do.
    """
    verified = read_bundle(Path(bundle))
    networks = open_networks(verified, runtime, device=device)
    task = BUNDLE_TASKS.get(verified.document.task)
    return task.analyze_file(verified.document, networks, read_bytes(Path(file)), task.file_options())
