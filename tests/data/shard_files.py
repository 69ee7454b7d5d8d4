"""Small shards for tests, and reading what lies in them."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from data.fragments import FragmentWriter, assemble
from data.shards import ShardReader, Span

Entries = list[tuple[str, bytes]]

# In memory where that is possible: every file is synced to its disk.
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None


def read_entry(reader: ShardReader, shard: str, offset: int, size: int) -> bytes:
    """What lies there, whatever it should be."""
    (data,) = reader.read(shard, Span(offset, size, 0))
    return data


def write_fragments(folder: Path, pieces: Iterable[Entries]) -> tuple[list[Path], list[list[tuple[int, int]]]]:
    paths, places = [], []
    for number, entries in enumerate(pieces):
        paths.append(folder / f"fragment-{number}")
        with FragmentWriter(paths[-1]) as writer:
            places.append([writer.add(name, data) for name, data in entries])
        assert paths[-1].stat().st_size == writer.size
    return paths, places


def write_shard(folder: Path, data: bytes, label: str = "entry.bin") -> tuple[str, int, int]:
    """Write a shard with one entry to ``folder`` and return its name and where the entry lies."""
    with TemporaryDirectory(dir=SCRATCH) as scratch:
        (path,), ((place,),) = write_fragments(Path(scratch), [[(label, data)]])
        (assembled,) = assemble([path], folder)
    return assembled.shard_name, *place
