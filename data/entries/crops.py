"""Faces that were cut out of pictures or frames already."""

from data.entries.stills import CHUNK_ENTRIES, Stills
from media.extraction import ExtractionSpec


def crops_problem(extraction: ExtractionSpec) -> str:
    """Say why an extraction says nothing of crops of faces; "" where it does."""
    return "spec.extraction.faces must say how faces are cut, or were" if extraction.faces is None else ""


class Crops(Stills):
    """Pictures of one face each, stored as they are."""

    def cutting_problem(self, extraction: ExtractionSpec) -> str:
        """See ``EntryKind.cutting_problem``."""
        return crops_problem(extraction)


CROPS = Crops("faces", "pictures", "pillow", distance=None, comparable=True, chunk_entries=CHUNK_ENTRIES)
"""Faces look alike without being copies."""
