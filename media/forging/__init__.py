"""Forgeries made from authentic photographs: copy-move, splice and removal, with exact masks and recipes."""

from media.forging.folder import ForgeSummary, find_photos, forge_folder
from media.forging.forge import Finished, Forged, authentic_twin, forge
from media.forging.settings import KINDS, ForgeRequest, ForgeSettings, Kind

__all__ = [
    "KINDS",
    "Finished",
    "ForgeRequest",
    "ForgeSettings",
    "ForgeSummary",
    "Forged",
    "Kind",
    "authentic_twin",
    "find_photos",
    "forge",
    "forge_folder",
]
