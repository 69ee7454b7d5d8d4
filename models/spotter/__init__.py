"""Spotter: judges the face of a clip by three scales of every frame and by how they change, and shows where."""

from core.lazy import Lazy
from models.family import Family
from models.spotter.settings import SpotterLossSettings, SpotterSettings

FAMILY = Family(
    name="spotter",
    task="faces",
    settings=SpotterSettings,
    loss_settings=SpotterLossSettings,
    network=Lazy("models.spotter.network:Spotter"),
    loss=Lazy("models.spotter.loss:SpotterLoss"),
    views=("face", "centre"),
    clips=True,
    heatmaps=True,
    memory_keys=("backbone", "pyramid_channels"),
)

# Imports torch when it is called; see there for arguments and errors.
load_spotter = Lazy("models.spotter.loading:load_spotter")
