"""The extraction step: a layout in; sample index and shards out."""

import fcntl
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from components.extract_frames.chunk import Job, fragment_path, rows_path
from components.extract_frames.indexing import assign, collect, reject_undivided, write_index
from components.extract_frames.kept import Kept
from components.extract_frames.placement import Placement
from components.extract_frames.plan import Plan
from components.extract_frames.pool import WorkerPool
from components.extract_frames.receipt import FILE as RECEIPT_FILE
from components.extract_frames.receipt import finished, inputs_sha256, remember
from components.extract_frames.recipe import ExtractRecipe
from components.extract_frames.report import write_report
from core.errors import BadInputError, SettingsError
from core.files import atomic_write, sha256_file, write_text
from core.processors import processors
from core.progress import counter
from core.storage import Store, open_store
from data.index import INDEX_FILE, REJECTED_FILE, REPORT_FILE, SPEC_FILE
from data.official_splits import OfficialSplits

WORK_FOLDER = ".work"
_LOCK_FILE = "lock"


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction came to.

    Attributes:
        samples: in the index, by split and label name, such as ``{"train/forged": 12}``.
        rejected: inputs left out, by reason.
        shards: number of shards.
        index_sha256: of ``index.parquet``.
    """

    samples: dict[str, int]
    rejected: dict[str, int]
    shards: int
    index_sha256: str


def extract_frames(
    source: str,
    output: Path,
    shards: str,
    recipe: ExtractRecipe,
    *,
    workers: int | None = None,
    work: Path | None = None,
    chunks: str = "",
    part: int | None = None,
    parts: int = 1,
) -> ExtractionSummary:
    """Extract a data set, or do a share of that on a machine of its own.

    What is done is kept chunk by chunk in ``work``, and in ``chunks`` where that is given: after a kill, the same call
    does only what is missing. The index and the shards that come out are a function of the inputs, the recipe and the
    number of parts alone.

    Args:
        source: folder or ``s3://`` prefix where the layout begins.
        output: folder of the sample index; made if need be.
        shards: URI under which shards are stored.
        recipe: what to do.
        workers: processes, by default one a processor that this one may use.
        work: folder for unfinished work, by default ``.work`` in ``output``.
        chunks: URI under which finished chunks are kept, so that another machine can go on: rows for good, and pixels
            until their shard is stored. May be removed when no extraction is under way.
        part: which share to do, from 0. Its shards are stored and its rows are in ``chunks``; no data set is written
            and the summary is empty. None does what is missing of all shares and writes the data set.
        parts: number of shares.

    Raises:
        BadInputError: ``no-input`` when there is nothing, ``all-rejected`` when nothing could be used.
        SettingsError: when places overlap, there is no such share, or a split file cannot be understood.
        SplitError: when a group would lie in two splits, or a split would lack a class.
        StorageError: when source, shards or folders cannot be read or written.
    """
    workers = _workers(workers)
    store, shard_store, folder = open_store(source), open_store(shards), work or output / WORK_FOLDER
    for name, place in (("output", str(output)), ("work", str(folder)), ("shards", shards), ("chunks", chunks)):
        if place:
            _require_apart(store.uri, name, open_store(place).uri)
    _require_part(part, parts, chunks)
    with _locked(folder):
        plan = Plan(store, recipe)
        sizes = {name: len(entries) for name, entries in plan.chunks()}
        names = list(sizes)
        with Kept(chunks, folder) as kept:
            placement = Placement(shard_store, folder, recipe.shard_bytes, parts, kept)

            def extract(number: int) -> None:
                _extract_part(plan, sizes, placement, kept, folder, store.uri, workers, (number, parts))

            if part is not None:
                extract(part)
                _clear(folder)
                return ExtractionSummary({}, {}, 0, "")
            split_file = _read_split_file(recipe.splits.file, store)
            inputs = inputs_sha256(plan, names, recipe, shard_store.uri, parts, split_file)
            done = finished(folder, output, shard_store, inputs)
            if done is not None:
                return ExtractionSummary(**done)
            for number in range(parts):
                extract(number)
            kept.take_rows(names)
            summary = _write_output(plan, names, placement, folder, output, shard_store.uri, recipe, split_file)
            kept.drop_pixels(names)
        remember(folder, output, inputs, asdict(summary), {shard.name: shard.size for shard in placement.shards})
        _clear(folder)
    return summary


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in (RECEIPT_FILE, _LOCK_FILE):
            path.unlink()


def _require_part(part: int | None, parts: int, chunks: str) -> None:
    if parts < 1 or (part is not None and not (chunks and 0 <= part < parts)):
        raise SettingsError(f"part {part} of {parts}: parts are numbered from 0, and need a place for chunks")


def _workers(given: int | None) -> int:
    workers = processors() if given is None else given
    if workers < 1:
        raise SettingsError(f"workers = {workers}: at least one is needed")
    return workers


def _extract_part(
    plan: Plan,
    chunks: Mapping[str, int],
    placement: Placement,
    kept: Kept,
    folder: Path,
    source: str,
    workers: int,
    part: tuple[int, int],
) -> None:
    """Have the pixels of a part in shards of its own, and its rows in ``folder`` or kept.

    Args:
        plan: of the whole.
        chunks: number of entries by name, in order.
        placement: places the part's chunks.
        kept: where they are kept.
        folder: of their files.
        source: URI of the layout's root.
        workers: processes.
        part: which, and how many there are.
    """
    number, count = part
    mine = list(chunks)[number::count]
    complete = placement.resume(mine)
    kept.take_chunks(mine[complete:])

    def jobs() -> Iterator[Job | str]:
        for position, (name, entries) in enumerate(islice(plan.chunks(), number, None, count)):
            if position < complete or _is_done(folder, name):
                progress.update(len(entries))
            if position >= complete:
                yield name if _is_done(folder, name) else plan.job(name, entries, folder)

    label = "extract" if count == 1 else f"extract part {number} of {count}"
    with (
        counter(sum(chunks[name] for name in mine), unit=plan.unit, label=label) as progress,
        WorkerPool(source, workers) as pool,
    ):
        placement.place(pool.run(jobs(), progress, kept.keep), final=mine[-1] if mine else "")


def _is_done(folder: Path, chunk: str) -> bool:
    return rows_path(folder, chunk).exists() and fragment_path(folder, chunk).exists()


def _write_output(
    plan: Plan,
    chunks: list[str],
    placement: Placement,
    folder: Path,
    output: Path,
    shards: str,
    recipe: ExtractRecipe,
    split_file: bytes,
) -> ExtractionSummary:
    official = OfficialSplits(split_file, str(recipe.splits.file)) if recipe.splits.file else None
    columns = collect(chunks, folder, plan, official)
    if not len(columns) or (official is not None and not (columns.numpy("official") >= 0).any()):
        reasons = _write_rejected(plan, output / REJECTED_FILE)
        counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        raise BadInputError("all-rejected", f"nothing could be used ({counts}); see {output / REJECTED_FILE}")
    assignment = assign(columns, recipe, chunks, folder)
    if official is None:
        reject_undivided(assignment, chunks, folder, plan)
    reasons = _write_rejected(plan, output / REJECTED_FILE)
    write_text(output / SPEC_FILE, recipe.spec.to_document())
    index_counts = write_index(output / INDEX_FILE, assignment, recipe, shards, chunks, folder, placement.bases)
    write_report(output / REPORT_FILE, recipe, index_counts, reasons)
    samples: Counter[str] = Counter()
    for (split, label, _), count in index_counts.samples.items():
        samples[f"{split}/{label}"] += count
    return ExtractionSummary(
        samples=dict(sorted(samples.items())),
        rejected=dict(sorted(reasons.items())),
        shards=len(placement.shards),
        index_sha256=sha256_file(output / INDEX_FILE),
    )


def _write_rejected(plan: Plan, path: Path) -> Counter[str]:
    reasons: Counter[str] = Counter()
    with atomic_write(path) as stream:
        for reason, line in plan.rejections():
            stream.write(f"{line}\n".encode("ascii"))
            reasons[reason] += 1
    return reasons


def _read_split_file(file: str | None, source: Store) -> bytes:
    """Read a file of splits given as URI, absolute path, or key in the source."""
    if file is None:
        return b""
    if "://" not in file and not file.startswith("/"):
        return source.read(file)
    place, _, name = file.rpartition("/")
    return open_store(place or "/").read(name)


def _require_apart(source: str, name: str, place: str) -> None:
    if f"{place}/".startswith(f"{source}/"):
        raise SettingsError(
            f"{name} = {place} lies inside the source {source}, where it would be taken for input; choose another place"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second extraction out of the folder; a lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another extraction is at work in {folder}; wait for it or give another work folder"
            ) from None
        yield
