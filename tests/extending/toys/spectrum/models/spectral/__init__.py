"""A family that reads a face and a spectrum."""

from core.errors import SettingsError
from core.lazy import Lazy
from core.settings import Settings
from models.family import Family


class SpectralSettings(Settings):
    """The network, which has no settings."""


class SpectralLossSettings(Settings):
    """The loss, which has no settings."""


def check_input(settings, input_spec):
    """Require both views."""
    if len(input_spec.views) != 2:
        raise SettingsError("input.views: family spectral reads face and spectrum")


FAMILY = Family(
    name="spectral",
    task="faces",
    settings=SpectralSettings,
    loss_settings=SpectralLossSettings,
    network=Lazy("models.spectral.network:Spectral"),
    loss=Lazy("models.spectral.network:SpectralLoss"),
    views=("face", "spectrum"),
    reads_several=True,
    check_input=check_input,
)
