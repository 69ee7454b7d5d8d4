"""``by-prefix``: pictures beside each other, whose names begin with their class: ``authentic_1.png forged_2.png``."""

from data.entries.entry import Entry, Rejection
from data.entries.stills import PICTURES
from data.layout import Layout
from data.listing import PICTURE_CLASSES, blob, listing, unexpected_place


def entries(store, options):
    """Yield an entry for every picture that is named so, and a rejection for every other file."""
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
            continue
        prefix = info.key.partition("_")[0]
        if prefix in PICTURE_CLASSES:
            yield Entry(info.key, blob(info), None, PICTURE_CLASSES.index(prefix), prefix)
        else:
            yield unexpected_place(info.key, "authentic_* and forged_*")


LAYOUT = Layout("by-prefix", "authentic_* and forged_*", entries, PICTURES, PICTURE_CLASSES)
