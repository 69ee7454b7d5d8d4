"""What the entries of a layout are: the one object that answers wherever kinds of entries differ."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from core.storage import Store
from data.entries.entry import Entry
from data.entries.sample import Sample
from data.entries.settings import EntrySettings, Limits
from media.extraction import ExtractionSpec


class EntryReader(Protocol):
    """Makes samples of the entries that it was opened for."""

    def read(self, entry: Entry) -> tuple[list[Sample], str]:
        """Return the samples of an entry, at least one, and the hex SHA-256 of its file.

        Raises:
            BadInputError: when the entry cannot be used.
            StorageError: when the store fails, rather than this one object.
        """


@dataclass(frozen=True)
class EntryKind(ABC):
    """A kind of entries; picklable.

    Attributes:
        plural: what they are called.
        unit: what their files are counted as.
        decoder: what ``extraction.decoder`` must be.
        distance: the distance of near-duplicates that are searched unless a recipe says otherwise; None for no search.
        comparable: whether near-duplicates can be searched at all.
        chunk_entries: how many are extracted at a time.
    """

    plural: str
    unit: str
    decoder: Literal["pillow", "pyav"]
    distance: int | None
    comparable: bool
    chunk_entries: int

    @abstractmethod
    def max_bytes(self, limits: Limits) -> int:
        """Return how large a file may be."""

    @abstractmethod
    def open(
        self, store: Store, entries: Sequence[Entry], settings: EntrySettings
    ) -> AbstractContextManager[EntryReader]:
        """Begin to read some entries, which are then asked for in their order.

        Args:
            store: the layout's root.
            entries: what will be read; some may never be asked for.
            settings: how.
        """

    @abstractmethod
    def cutting_problem(self, extraction: ExtractionSpec) -> str:
        """Say why samples cannot be cut out of entries as a recipe asks; "" where they can."""

    def defaults(self, reach: float) -> dict[str, Any]:
        """Return the keys of ``spec.extraction`` that a recipe may leave out.

        Args:
            reach: of the widest view that is cut from the samples, as ``View.reach`` says.
        """
        del reach
        return {}

    def problem(self, extraction: ExtractionSpec, distance: int | None) -> str:
        """Say why entries cannot be extracted as a recipe asks; "" where they can.

        Args:
            extraction: the recipe's.
            distance: of near-duplicates.
        """
        if extraction.decoder != self.decoder:
            return f"spec.extraction.decoder must be {self.decoder}"
        if problem := self.cutting_problem(extraction):
            return problem
        if not self.comparable and distance is not None:
            return f"{self.plural} are not compared: near_duplicates.distance must be null"
        return ""
