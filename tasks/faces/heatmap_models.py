"""What makes heatmaps: a trained classifier of faces, or its exported form."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from bundle.document import HEATMAP
from core.errors import SettingsError
from media.spec import InputSpec
from models.checkpoint import LoadedNetwork
from models.inputs import Normalize
from tasks.exported import ExportedNetwork


class HeatmapModel(Protocol):
    """What is asked for heatmaps."""

    @property
    def name(self) -> str:
        """The member's."""

    @property
    def input(self) -> InputSpec:
        """What it reads; its heatmaps are of the view ``mapped``."""

    def __call__(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return logits [B, 1] and maps [B, 1, h, w] in 0..1 by name; the first is the one that is served.

        Args:
            arrays: views as they are cut, by name [B, ...].
        """


class TrainedHeatmaps:
    """A trained network's heatmap, and the baselines that its family has beside it.

    Args:
        loaded: of a family with heatmaps.
        device: where it is.

    Raises:
        SettingsError: when the family has none.
    """

    def __init__(self, loaded: LoadedNetwork, device: torch.device | str) -> None:
        if not loaded.family.heatmaps:
            raise SettingsError(f"family {loaded.family.name} has no heatmaps to evaluate")
        self.name = loaded.member
        self.input = loaded.spec.input
        self._network = loaded.network
        self._normalize = Normalize(loaded.spec.input).to(device)

    def __call__(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return logits and maps."""
        inputs = self._normalize(arrays)
        return self._network(inputs), self._network.heatmaps(inputs)


class ExportedHeatmaps:
    """The heatmap that a bundle's member serves.

    Args:
        network: has one.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        self.name = network.member.name
        self.input = network.member.input
        self._network = network

    def __call__(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return logits and the one map."""
        outputs = self._network.outputs(arrays)
        return torch.from_numpy(outputs["logits"]), {HEATMAP: torch.from_numpy(outputs[HEATMAP])}
