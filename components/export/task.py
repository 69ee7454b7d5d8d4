"""What the export of a task has to do; all else about a bundle is the same for every task."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bundle import BundleFile, VerifiedBundle
from bundle.runtimes import member_metadata
from components.export.fitting import Fitted
from components.export.parity import Parity
from components.export.recipe import ExportRecipe
from data.index import SampleIndex
from data.shards import ShardReader
from models.checkpoint import LoadedNetwork


@dataclass(frozen=True)
class Job:
    """What is exported, and on what it is fitted and compared.

    Attributes:
        networks: by member name, all of one task, on the device that the recipe says.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        recipe: of the export.
    """

    networks: Mapping[str, LoadedNetwork]
    val: SampleIndex
    reader: ShardReader
    recipe: ExportRecipe

    def metadata(self, name: str, part: str = "") -> str:
        """Return what goes into a member's exported file to identify it."""
        loaded = self.networks[name]
        return member_metadata(
            self.recipe.name,
            name,
            loaded.family.class_names,
            loaded.spec.input.to_json(),
            loaded.checkpoint_sha256,
            part,
        )


class TaskExport(Protocol):
    """The export of one task; the methods are called in this order."""

    def fit(self) -> Fitted:
        """Choose temperatures, weights and operating points on val."""

    def write(self, name: str, folder: Path) -> Mapping[str, Any]:
        """Write a member's files into the bundle's folder; return those keys of ``BundleMember`` that describe them."""

    def prove(self, opened: VerifiedBundle) -> list[Parity]:
        """Open the very files through the runtimes that serve them, and compare them with the trained networks."""


def describe_file(folder: Path, path: str) -> BundleFile:
    """Return the entry of a file that lies at ``path`` in a bundle's folder."""
    data = (folder / path).read_bytes()
    return BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
