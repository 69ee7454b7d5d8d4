"""What whole pictures go through outside the forging: cropping, scaling, a camera, colour, blur, noise, JPEG.

A processing is a list of steps, each a mapping ``{"step": name, parameter: value, …}`` that can go into JSON and be
applied again with the same result.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.forging.chance import happens, integer, log_uniform, uniform, weighted
from media.forging.settings import ProcessingSettings

Picture = NDArray[np.uint8]
Step = dict[str, Any]

FILTERS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
SAMPLING = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
DEMOSAIC = {
    "bilinear": {"RG": cv2.COLOR_BayerBG2RGB, "GR": cv2.COLOR_BayerGB2RGB},
    "edge": {"RG": cv2.COLOR_BayerBG2RGB_EA, "GR": cv2.COLOR_BayerGB2RGB_EA},
}
GAMMA = 2.2
LINEAR = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)
ENCODED = np.round(255.0 * (np.arange(65536) / 65535.0) ** (1 / GAMMA)).astype(np.uint8)


def encode_jpeg(rgb: Picture, quality: int, sampling: str) -> bytes:
    """Return baseline JPEG bytes of an H×W×3 RGB picture; ``sampling`` is a key of ``SAMPLING``."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)[1].tobytes())


def _decode(data: bytes) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def _to_bytes(values: NDArray[np.floating[Any]]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _crop(rgb: Picture, *, x: int, y: int, width: int, height: int) -> Picture:
    return np.ascontiguousarray(rgb[y : y + height, x : x + width])


def _resize(rgb: Picture, *, width: int, height: int, filter: str) -> Picture:
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=FILTERS[filter]), dtype=np.uint8)


def _camera(
    rgb: Picture, *, seed: int, pattern: str, demosaic: str, warmth: float, shot: float, read: float, sharpen: float
) -> Picture:
    """Take the picture again with a simulated sensor: Bayer mosaic, Poisson-Gaussian noise, demosaicing, sharpening.

    Noise variance in linear light (0..1) is ``shot``·signal + ``read``² (the usual sensor model). ``warmth`` is the
    ratio of the red to the blue white-balance gain; the weaker sensor signal of those channels carries more noise.
    """
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    light = LINEAR[rgb[:height, :width]]
    gains = np.array([1.6 * warmth**0.5, 1.0, 1.6 / warmth**0.5], dtype=np.float32)
    mosaic = light[:, :, 1].copy()
    red, blue = ((0, 0), (1, 1)) if pattern == "RG" else ((0, 1), (1, 0))
    mosaic[red[0] :: 2, red[1] :: 2] = light[red[0] :: 2, red[1] :: 2, 0] / gains[0]
    mosaic[blue[0] :: 2, blue[1] :: 2] = light[blue[0] :: 2, blue[1] :: 2, 2] / gains[2]
    noise = np.random.default_rng(seed).standard_normal(mosaic.shape, dtype=np.float32)
    mosaic += noise * np.sqrt(shot * mosaic + read * read)
    raw = np.clip(np.rint(mosaic * 65535.0), 0, 65535).astype(np.uint16)
    developed = cv2.cvtColor(raw, DEMOSAIC[demosaic][pattern]).astype(np.float32) * gains
    result = ENCODED[np.clip(np.rint(developed), 0, 65535).astype(np.uint16)]
    result = _sharpen(result, amount=sharpen) if sharpen > 0 else result
    return np.ascontiguousarray(result)


def _colour(rgb: Picture, *, brightness: float, contrast: float, gamma: float, saturation: float) -> Picture:
    curve = np.arange(256) / 255.0
    curve = (curve**gamma - 0.5) * contrast + 0.5 + brightness
    toned = cv2.LUT(rgb, _to_bytes(255.0 * curve)).astype(np.float32)
    grey = toned @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return _to_bytes(grey[..., None] + saturation * (toned - grey[..., None]))


def _blur(rgb: Picture, *, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), dtype=np.uint8)


def _sharpen(rgb: Picture, *, amount: float) -> Picture:
    return np.asarray(cv2.addWeighted(rgb, 1 + amount, cv2.GaussianBlur(rgb, (0, 0), 1.0), -amount, 0), dtype=np.uint8)


def _noise(rgb: Picture, *, seed: int, sigma: float) -> Picture:
    noise = np.random.default_rng(seed).standard_normal(rgb.shape, dtype=np.float32)
    return _to_bytes(rgb + sigma * noise)


def _jpeg(rgb: Picture, *, quality: int, sampling: str) -> Picture:
    return _decode(encode_jpeg(rgb, quality, sampling))


STEPS: dict[str, Callable[..., Picture]] = {
    "crop": _crop,
    "resize": _resize,
    "camera": _camera,
    "colour": _colour,
    "blur": _blur,
    "sharpen": _sharpen,
    "noise": _noise,
    "jpeg": _jpeg,
}


def apply(rgb: Picture, steps: Sequence[Step]) -> Picture:
    """Return the picture after all steps; without any it is the picture itself."""
    for step in steps:
        rgb = STEPS[step["step"]](rgb, **{key: value for key, value in step.items() if key != "step"})
    return rgb


def apply_to_mask(mask: NDArray[np.bool_], steps: Sequence[Step]) -> NDArray[np.bool_]:
    """Return the mask after those of the steps that move pixels, sampled at the nearest pixel."""
    for step in steps:
        if step["step"] == "crop":
            mask = mask[step["y"] : step["y"] + step["height"], step["x"] : step["x"] + step["width"]]
        elif step["step"] == "resize":
            size = (step["width"], step["height"])
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
        elif step["step"] == "camera":
            mask = mask[: mask.shape[0] // 2 * 2, : mask.shape[1] // 2 * 2]
    return np.ascontiguousarray(mask)


def draw_colour(rng: np.random.Generator, strength: float = 1.0) -> Step:
    """Draw a mild change of tone; ``strength`` 1 is about what a photo application's automatic mode does."""
    return {
        "step": "colour",
        "brightness": uniform(rng, (-0.05 * strength, 0.05 * strength)),
        "contrast": uniform(rng, (1 - 0.15 * strength, 1 + 0.15 * strength)),
        "gamma": uniform(rng, (1 - 0.15 * strength, 1 + 0.15 * strength)),
        "saturation": uniform(rng, (1 - 0.3 * strength, 1 + 0.3 * strength)),
    }


def _draw_camera(rng: np.random.Generator) -> Step:
    return {
        "step": "camera",
        "seed": integer(rng, (0, 2**31 - 1)),
        "pattern": weighted(rng, {"RG": 1, "GR": 1}),
        "demosaic": weighted(rng, {"bilinear": 1, "edge": 1}),
        "warmth": log_uniform(rng, (0.7, 1.4)),
        "shot": round(float(np.exp(rng.uniform(np.log(3e-5), np.log(8e-4)))), 7),
        "read": round(float(np.exp(rng.uniform(np.log(2e-4), np.log(4e-3)))), 7),
        "sharpen": uniform(rng, (0.0, 0.8)),
    }


def draw_fit(rng: np.random.Generator, shape: tuple[int, int], min_side: int, max_side: int | None) -> list[Step]:
    """Draw how a picture of ``shape`` (height, width) comes within ``max_side``: a random window, or scaled down.

    Scaling is left out where the shorter side would fall below ``min_side``.
    """
    height, width = shape
    if max_side is None or max(height, width) <= max_side:
        return []
    factor = max_side / max(height, width)
    if happens(rng, 0.5) and factor * min(height, width) >= min_side:
        size = {"width": max(1, round(width * factor)), "height": max(1, round(height * factor))}
        return [{"step": "resize", **size, "filter": "area"}]
    size = {"width": min(width, max_side), "height": min(height, max_side)}
    corner = {"x": integer(rng, (0, width - size["width"])), "y": integer(rng, (0, height - size["height"]))}
    return [{"step": "crop", **corner, **size}]


def draw_processing(
    rng: np.random.Generator, settings: ProcessingSettings, shape: tuple[int, int], min_side: int, max_side: int | None
) -> list[Step]:
    """Draw what a picture goes through; the compression, if any, comes last.

    Args:
        rng: source of chance.
        settings: probabilities and ranges.
        shape: height and width of the picture, px.
        min_side: no step may bring the shorter side below this.
        max_side: no resizing may bring the longer side above this.
    """
    if happens(rng, settings.untouched):
        return []
    steps: list[Step] = []
    height, width = shape
    if happens(rng, settings.crop_probability) and min(height, width) - 2 * settings.crop >= min_side:
        x, y, right, bottom = (integer(rng, (0, settings.crop)) for _ in range(4))
        width, height = width - x - right, height - y - bottom
        steps.append({"step": "crop", "x": x, "y": y, "width": width, "height": height})
    if happens(rng, settings.resize_probability):
        factor = max(log_uniform(rng, settings.scale), min_side / min(height, width))
        if max_side is not None:
            factor = min(factor, max_side / max(height, width))
        width, height = max(min_side, round(width * factor)), max(min_side, round(height * factor))
        filters = {"area": 2 if factor < 1 else 0, "linear": 1, "cubic": 1, "lanczos": 1}
        steps.append({"step": "resize", "width": width, "height": height, "filter": weighted(rng, filters)})
    if happens(rng, settings.camera_probability) and min(height, width) > min_side:
        steps.append(_draw_camera(rng))
    if happens(rng, settings.colour_probability):
        steps.append(draw_colour(rng))
    if happens(rng, settings.blur_probability):
        steps.append({"step": "blur", "sigma": log_uniform(rng, settings.blur)})
    elif happens(rng, settings.sharpen_probability):
        steps.append({"step": "sharpen", "amount": uniform(rng, (0.2, 1.0))})
    if happens(rng, settings.noise_probability):
        seed = integer(rng, (0, 2**31 - 1))
        steps.append({"step": "noise", "seed": seed, "sigma": log_uniform(rng, settings.noise)})
    if happens(rng, settings.jpeg_probability):
        sampling = weighted(rng, {"4:2:0": 0.6, "4:4:4": 0.3, "4:2:2": 0.1})
        steps.append({"step": "jpeg", "quality": integer(rng, settings.quality), "sampling": sampling})
    return steps
