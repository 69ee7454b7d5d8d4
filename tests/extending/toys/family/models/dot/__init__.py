"""A family of one hidden layer that marks pixels by their colour."""

from pydantic import Field

from core.lazy import Lazy
from core.settings import Settings
from models.family import Family


class DotSettings(Settings):
    """The network."""

    width: int = Field(default=4, ge=1)
    """Channels of the hidden layer."""


class DotLossSettings(Settings):
    """The loss, which has no settings."""


FAMILY = Family(
    name="dot",
    task="regions",
    settings=DotSettings,
    loss_settings=DotLossSettings,
    network=Lazy("models.dot.network:Dot"),
    loss=Lazy("models.dot.network:DotLoss"),
    views=("tiles",),
)
