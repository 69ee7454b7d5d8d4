"""How networks are run over an index: the settings that sweep, evaluation and export share."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.errors import SettingsError
from core.settings import Settings

if TYPE_CHECKING:
    import torch


class InferenceSettings(Settings):
    """Where and how fast networks are run; none of these changes a verdict but by rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` is a GPU where there is one."""
    batch_size: int = Field(default=8, ge=1)
    """Tiles, faces or other items of a forward pass."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the forward pass."""
    workers: int = Field(default=2, ge=1)
    """Threads that read and decode ahead."""

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

    def torch_device(self) -> "torch.device":
        """Return the device.

        Raises:
            SettingsError: when a GPU is asked for and there is none.
        """
        import torch  # reading a recipe must not wait for it

        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise SettingsError("inference.device = 'cuda': PyTorch finds no GPU here; use 'cpu' or 'auto'")
        return torch.device("cpu" if self.device == "cpu" or not available else "cuda")
