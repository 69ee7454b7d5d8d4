"""What can go wrong in training and a person can do something about."""

from collections.abc import Sequence

from core.errors import VeriframeError


class NonFiniteLossError(VeriframeError):
    """The loss became infinite or not a number."""

    def __init__(self, epoch: int, step: int, terms: dict[str, float], sample_ids: Sequence[str]) -> None:
        values = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        super().__init__(
            f"the loss is not finite in epoch {epoch}, step {step} ({values}); the samples of that step are "
            f"{', '.join(sample_ids)}. Look at those samples, or lower optimizer.lr, set clip_norm, "
            "or set precision to fp32"
        )
        self.sample_ids = tuple(sample_ids)


class DeviceMemoryError(VeriframeError):
    """The device has too little memory for the recipe."""


class ProcessesFailedError(VeriframeError):
    """One of several training processes ended with an error, which it has printed itself."""


class PeerLostError(VeriframeError):
    """Another process of the run ended or cannot be reached, so that this one cannot go on."""
