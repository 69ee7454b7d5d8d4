"""timm's networks as backbones: built by name, started from weights, for families that put their own head on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from core.errors import SettingsError, unknown_name
from models.pretrained import backbone_of, download, fit_weights, read_weights

PYRAMID_STRIDES = (8, 16, 32)
PROBE_SIZE = 64  # px; the smallest input at which every backbone's statistics are defined

# Transformers are fixed to the size of their published weights unless an option says otherwise, for each another one.
FLEXIBLE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})


class PooledBackbone(nn.Module):
    """A timm network without its classifier, on plain pixels: it normalises them with its own mean and deviation.

    Args:
        name: timm's name of it.

    Attributes:
        width: features a picture.

    Shape:
        - Input: float [B, 3, S, S] in 0..1.
        - Output: [B, width].

    Raises:
        SettingsError: when there is no such network, or it cannot be used so.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.options: dict[str, Any] = {"num_classes": 0}
        self.model = _create(name, self.options)
        config = self.model.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).reshape(-1, 1, 1), persistent=False)
        self.width = int(_freeze_unused(self.model, 3, name)[0].shape[1])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of ``pixels``."""
        features: Tensor = self.model((pixels - self.mean) / self.std)
        return features


class PyramidBackbone(nn.Module):
    """A timm network's features at the strides 8, 16 and 32, the last layer of each.

    Args:
        name: timm's name of it.
        in_channels: channels of the input.

    Attributes:
        channels: channels of the three features.

    Shape:
        - Input: float32 [B, in_channels, S, S], normalised.
        - Output: three tensors [B, channels, s, s], s about S / 8, S / 16 and S / 32.

    Raises:
        SettingsError: when there is no such network, or it has no features at these strides.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        self.name = name
        # This form keeps timm's names of the parameters, and puts channels first whatever the network does inside.
        whole: dict[str, Any] = {"features_only": True, "feature_cls": "getter", "in_chans": in_channels}
        strides = _create(name, whole).feature_info.reduction()
        if not set(PYRAMID_STRIDES) <= set(strides):
            raise SettingsError(f"backbone {name!r} has features at the strides {strides}, not at {PYRAMID_STRIDES}")
        levels = [len(strides) - 1 - strides[::-1].index(stride) for stride in PYRAMID_STRIDES]
        self.options = whole | {"out_indices": levels}
        self.model = _create(name, self.options)
        self.channels = [int(level.shape[1]) for level in _freeze_unused(self.model, in_channels, name)]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the features of ``pixels``, the finest first."""
        features: list[Tensor] = self.model(pixels)
        return features


def start(backbone: PooledBackbone | PyramidBackbone, weights: str, prefixes: Sequence[str] = ()) -> None:
    """Fill ``backbone`` with the weights that a recipe names.

    Args:
        backbone: changed in place.
        weights: ``imagenet`` (timm's, downloaded), ``random``, ``package:<name>``, or the path of a file.
        prefixes: of the backbone's names in files of public detectors, of which all else is left.

    Raises:
        StorageError: when a file is missing or a download fails; says how to give a file.
        SettingsError: when there is no such package.
        BadInputError: when the file holds no weights.
        MismatchError: when the weights do not fit the backbone.
    """
    if weights == "random":
        return
    if weights == "imagenet":
        pretrained = download(
            f"ImageNet weights of {backbone.name}", lambda: _create(backbone.name, backbone.options, pretrained=True)
        )
        state = pretrained.state_dict()
    else:
        state = backbone_of(read_weights(weights), prefixes)
    backbone.model.load_state_dict(fit_weights(state, backbone.model.state_dict(), weights))


def recognise(state: Mapping[str, Tensor], names: Sequence[str], build: Callable[[str], nn.Module]) -> str | None:
    """Return the first of ``names`` whose backbone has exactly the keys and shapes of ``state``, None if there is none.

    Args:
        state: of a backbone.
        names: timm's names, in the order in which they are looked at; networks that differ in padding alone look alike.
        build: makes the backbone of a name.
    """
    shapes = {key: value.shape for key, value in state.items()}
    for name in names:
        with torch.device("meta"):  # no memory, no time
            backbone = build(name)
        if {key: value.shape for key, value in backbone.state_dict().items()} == shapes:
            return name
    return None


def _create(name: str, options: dict[str, Any], pretrained: bool = False) -> Any:
    if not timm.is_model(name):
        raise unknown_name("backbone", name, timm.list_models())
    config = timm.get_pretrained_cfg(name)
    problem: Exception | None = None
    for more in FLEXIBLE if config is not None and config.fixed_input_size else ({},):
        try:
            return timm.create_model(name, pretrained=pretrained, **options, **more)
        except TypeError as error:  # it does not know the option
            problem = error
        except (KeyError, ValueError, NotImplementedError, AssertionError, AttributeError) as error:
            problem = error
            break
    raise SettingsError(f"backbone {name!r} cannot be used: {problem}") from problem


def _freeze_unused(model: nn.Module, in_channels: int, name: str) -> Sequence[Tensor]:
    # Some networks carry layers that only their classifier used; distributed training refuses such parameters.
    model.eval()
    try:
        with torch.enable_grad():
            output = model(torch.zeros(1, in_channels, PROBE_SIZE, PROBE_SIZE))
            outputs: Sequence[Tensor] = [output] if isinstance(output, Tensor) else output
            total = torch.stack([value.sum() for value in outputs]).sum()
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"backbone {name!r} does not take pictures of {PROBE_SIZE} px: {error}") from error
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    model.train()
    return outputs
