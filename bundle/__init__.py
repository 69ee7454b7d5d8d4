"""The bundle: what export writes, publish uploads and serving reads.

``document`` is the schema of ``bundle.json``, ``reading`` verifies a bundle, ``runtimes`` opens its networks, ``task``
finds what makes a verdict of their outputs, and ``releases`` finds the published bundle in a store. Each task has a
folder of its own.
"""

from bundle.document import (
    BUNDLE_FILE,
    CARD_FILE,
    CLIP,
    MODEL,
    Bundle,
    BundleFile,
    BundleMember,
    ExportedNetwork,
    Format,
    Int8Outcome,
    Precision,
    network_path,
    seal,
)
from bundle.reading import VerifiedBundle, read_bundle
from bundle.releases import Figures, Pointer, fetch_release, read_pointer
from bundle.runtimes import Networks, Run, open_networks
from bundle.task import BUNDLE_TASKS, BundleTask

__all__ = [
    "BUNDLE_FILE",
    "BUNDLE_TASKS",
    "CARD_FILE",
    "CLIP",
    "MODEL",
    "Bundle",
    "BundleFile",
    "BundleMember",
    "BundleTask",
    "ExportedNetwork",
    "Figures",
    "Format",
    "Int8Outcome",
    "Networks",
    "Pointer",
    "Precision",
    "Run",
    "VerifiedBundle",
    "fetch_release",
    "network_path",
    "open_networks",
    "read_bundle",
    "read_pointer",
    "seal",
]
