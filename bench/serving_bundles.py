"""What the benchmarks of serving serve: a bundle of realistic size, one that costs next to nothing, and photographs.

The realistic network is the published one on the smaller encoder that the recipe for processors takes, at the published
512 px, with random weights: they take as long as trained ones. Its threshold is set so that some of every photograph
counts as forged in scattered regions, which is the dearest answer to build.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage import data

from bench.bundles import CLASSES, TINY_SPECS, tiny_networks, write_bundle
from bundle import Format
from media.spec import InputSpec
from media.views.tiles import TilesView
from models.family import FAMILIES
from models.network import Network

ENCODER = "tu-tf_efficientnet_lite0"
TILES = TilesView(size=512, overlap=64, mean=(0.498, 0.498, 0.498), std=(0.502, 0.502, 0.502))
SPEC = InputSpec(views={"tiles": TILES})
HEIGHT, WIDTH = 350, 500  # of the photographs, px: one tile
JPEG_QUALITY = 90
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina", "hubble_deep_field")


def write_realistic(folder: Path, members: int, formats: Sequence[Format]) -> Path:
    """Write a bundle of ``members`` networks of EfficientNet-Lite0 at 512 px; return its folder."""
    names = [f"lite0-{number}" for number in range(members)]
    return write_bundle(
        folder,
        "realistic",
        {name: _network(seed) for seed, name in enumerate(names)},
        dict.fromkeys(names, SPEC),
        weights=[1 / members] * members,
        temperatures=[1.0] * members,
        formats=formats,
        threshold=0.1,
    )


def write_light(folder: Path) -> Path:
    """Write a bundle of one member with a single convolution on tiles of 32 px; return its folder."""
    name = "colour"
    networks, specs = {name: tiny_networks()[name]}, {name: TINY_SPECS[name]}
    return write_bundle(folder, "light", networks, specs, weights=(1.0,), temperatures=(1.0,), formats=("onnx",))


def photographs(width: int = WIDTH, height: int = HEIGHT) -> list[bytes]:
    """JPEG files of the photographs that scikit-image carries, cropped to one shape and resized."""
    files = []
    for name in PHOTOGRAPHS:
        rgb = np.asarray(getattr(data, name)())
        rows = min(rgb.shape[0], rgb.shape[1] * height // width)
        columns = min(rgb.shape[1], rgb.shape[0] * width // height)
        resized = cv2.resize(rgb[:rows, :columns], (width, height), interpolation=cv2.INTER_AREA)
        parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        files.append(cv2.imencode(".jpg", cv2.cvtColor(resized, cv2.COLOR_RGB2BGR), parameters)[1].tobytes())
    return files


def _network(seed: int) -> Network:
    family = FAMILIES.get("forgery")
    torch.manual_seed(seed)
    settings = family.settings.model_validate({"encoder": ENCODER, "weights": "random"})
    return family.build(settings, SPEC, CLASSES, pretrained=False).eval()
