"""INT8: how many items a second the quantised network makes of those that the float ONNX makes, on one thread.

Both families on EfficientNet-Lite0 at 512 px, with starting weights from an installed package and heads of random ones,
which take as long as trained ones. They are quantised as the export does it, calibrated on photographs that
scikit-image carries. Runs alternate, and seconds of this thread on a processor count. The goal is the gate's own
(``Int8Settings.min_speedup``). What is lost of a figure needs a trained network: the export measures it.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from bench.record import Ratio
from bench.serving_bundles import photographs
from bundle.document import MODEL
from components.export.formats import write
from components.export.networks import take_apart
from components.export.quantization import quantize
from media.pictures import decode_picture
from media.spec import InputSpec
from media.views.face import FaceView
from media.views.tiles import TilesView
from models.family import FAMILIES
from tasks.settings import Int8Settings

SIZE = 512
MOMENTS: dict[str, Any] = {"mean": (0.498,) * 3, "std": (0.502,) * 3}
WEIGHTS = "package:efficientnet-lite0"
NETWORKS: dict[str, tuple[InputSpec, dict[str, Any]]] = {
    "forgery": (
        InputSpec(views={"tiles": TilesView(size=SIZE, **MOMENTS)}),
        {"encoder": "tu-tf_efficientnet_lite0", "weights": WEIGHTS},
    ),
    "spotter": (
        InputSpec(views={"face": FaceView(size=SIZE, **MOMENTS)}, frames=4),
        {"backbone": "tf_efficientnet_lite0", "weights": WEIGHTS},
    ),
}
ROUNDS = 9
OPSET = 18


def measure() -> list[Ratio]:
    """Time one item in float and in INT8, in turns, after calls that are not counted."""
    pictures = np.stack([decode_picture(data) for data in photographs(SIZE, SIZE)]).transpose(0, 3, 1, 2)
    return [_measure(family, np.ascontiguousarray(pictures)) for family in NETWORKS]


def _measure(family: str, pictures: NDArray[np.uint8]) -> Ratio:
    spec, settings = NETWORKS[family]
    inputs = {spec.only.name: pictures}
    with TemporaryDirectory(prefix="bench-int8-") as temporary:
        files = [Path(temporary) / name for name in ("fp32.onnx", "int8.onnx")]
        found = FAMILIES.get(family)
        torch.manual_seed(0)
        network = found.build(found.settings.model_validate(settings), spec, ("real", "fake"), pretrained=True)
        write(take_apart(network, spec)[MODEL], "onnx", files[0], "{}", OPSET)
        quantize(files[0], files[1], [inputs])
        sessions = [_open(file) for file in files]
    item = {name: array[:1] for name, array in inputs.items()}
    for session in sessions:
        session.run(None, item)
    timed = [[_seconds(session, item) for session in sessions] for _ in range(ROUNDS)]
    return Ratio(
        f"INT8 of {family}",
        statistics.median(int8 for _, int8 in timed),
        "s",
        f"the throughput of the float ONNX on one thread, EfficientNet-Lite0, {SIZE} px",
        [fp32 / int8 for fp32, int8 in timed],
        goal=Int8Settings().min_speedup,
    )


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _seconds(session: onnxruntime.InferenceSession, inputs: dict[str, NDArray[np.uint8]]) -> float:
    start = time.thread_time()
    session.run(None, inputs)
    return time.thread_time() - start
