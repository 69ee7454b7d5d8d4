"""A family that reads a face and its corner."""

from core.lazy import Lazy
from core.settings import Settings
from models.family import Family


class PairSettings(Settings):
    """The network, which has no settings."""


class PairLossSettings(Settings):
    """The loss, which has no settings."""


FAMILY = Family(
    name="pair",
    task="faces",
    settings=PairSettings,
    loss_settings=PairLossSettings,
    network=Lazy("models.pair.network:Pair"),
    loss=Lazy("models.pair.network:PairLoss"),
    views=("face", "corner"),
    reads_several=True,
)
