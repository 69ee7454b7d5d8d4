"""A family that answers the task ``shade`` from a thumbnail's mean colour."""

from core.lazy import Lazy
from core.settings import Settings
from models.family import Family


class ThumbSettings(Settings):
    """The network, which has no settings."""


class ThumbLossSettings(Settings):
    """The loss, which has no settings."""


FAMILY = Family(
    name="thumbnet",
    task="shade",
    settings=ThumbSettings,
    loss_settings=ThumbLossSettings,
    network=Lazy("models.thumbnet.network:ThumbNet"),
    loss=Lazy("models.thumbnet.network:ThumbLoss"),
    views=("thumb",),
)
