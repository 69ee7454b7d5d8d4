"""A bundle's member as a pass over an index runs it: through a runtime that serves it, behind the face of a network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bundle.document import CLIP, MODEL, BundleMember
from bundle.runtimes import Networks


class ExportedNetwork(nn.Module):
    """Asks the exported networks of a member. Normalisation is inside them, and precision is what was exported.

    Args:
        member: whose.
        networks: opened.

    Shape:
        - Input: views by name [N, ...] as they are cut, and for clips ``lengths`` int64 [B] that add up to N.
        - Output: logits float32 [N, 1, ...], or with lengths [B, 1], on the CPU.
    """

    def __init__(self, member: BundleMember, networks: Networks) -> None:
        super().__init__()
        self.member = member
        self._networks = networks

    @property
    def clips(self) -> bool:
        """Whether the member is asked about clips."""
        return CLIP in self.member.networks

    def outputs(self, views: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        """Return what ``model`` gives of single items, by name."""
        arrays = {name: np.ascontiguousarray(views[name].cpu().numpy()) for name in self.member.model.inputs}
        return self._run(MODEL, arrays)

    def forward(self, views: Mapping[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        """Return logits of items, or of clips."""
        outputs = self.outputs(views)
        if lengths is None:
            return torch.from_numpy(outputs["logits"])
        counts = lengths.cpu().numpy().astype(np.int64)
        vectors = outputs["vectors"]
        padded = np.zeros((len(counts), self.member.input.frames, vectors.shape[1]), dtype=np.float32)
        padded[np.arange(self.member.input.frames) < counts[:, None]] = vectors
        return torch.from_numpy(self._run(CLIP, {"vectors": padded, "lengths": counts})["logits"])

    def _run(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        # A server knows no autocast.
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return self._networks[name](arrays)
