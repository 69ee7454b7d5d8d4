"""How a step judges: the settings that the sweep and the evaluation share."""

from typing import Any, Literal

import torch
from pydantic import Field

from core.errors import SettingsError
from core.settings import Settings


class JudgingSettings(Settings):
    """Where and how fast pictures are judged; none of these changes a verdict but by rounding.

    ``device`` ``auto`` is a GPU where there is one. ``batch_size`` counts tiles. ``workers`` are threads that read and
    decode ahead.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: int = Field(default=8, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = Field(default=2, ge=1)

    def running(self) -> dict[str, Any]:
        """Return device, batch size, precision and workers as every pass over an index takes them.

        Raises:
            SettingsError: as ``torch_device``.
        """
        return {
            "device": self.torch_device(),
            "batch_size": self.batch_size,
            "precision": self.precision,
            "workers": self.workers,
        }

    def torch_device(self) -> torch.device:
        """Return the device.

        Raises:
            SettingsError: when a GPU is asked for and there is none.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise SettingsError("judging.device = 'cuda': PyTorch finds no GPU here; use 'cpu' or 'auto'")
        return torch.device("cpu" if self.device == "cpu" or not available else "cuda")
