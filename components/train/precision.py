"""Mixed precision: which number format the forward pass runs in, and the gradient scaler that fp16 needs."""

from contextlib import AbstractContextManager, nullcontext

import torch

from core.errors import SettingsError

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(requested: str, device: torch.device) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16``.

    Args:
        requested: a recipe's ``precision``. ``auto`` is bf16 on a GPU whose hardware has it, else fp16; on a CPU it is
            fp32, because a CPU without bf16 instructions is several times slower with it.
        device: what the forward pass runs on.

    Raises:
        SettingsError: when bf16 is asked for and the GPU would only emulate it.
    """
    if device.type != "cuda":
        return "fp32" if requested == "auto" else requested
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if requested == "bf16" and not has_bf16:
        raise SettingsError(f"precision = 'bf16': {torch.cuda.get_device_name(device)} has no bf16; use auto or fp16")
    if requested == "auto":
        return "bf16" if has_bf16 else "fp16"
    return requested


class Precision:
    """The chosen format with what goes with it: the autocast context and the gradient scaler (idle but for fp16)."""

    def __init__(self, requested: str, device: torch.device) -> None:
        self.name = choose_precision(requested, device)
        self._device = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self._device, dtype=FORMATS[self.name])
