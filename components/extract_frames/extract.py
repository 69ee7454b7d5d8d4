"""The extraction step: a layout in; sample index and shards out."""

import fcntl
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from components.extract_frames.chunk import Job, fragment_path, rows_path
from components.extract_frames.indexing import assign, collect, reject_undivided, write_index
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
    part: tuple[int, int] | None = None,
) -> ExtractionSummary:
    """Extract a data set, or do a share of that on a machine of its own.

    What is done is kept chunk by chunk in ``work``: after a kill, the same call does only what is missing. The index
    and the shards that come out are a function of the inputs and the recipe alone.

    Args:
        source: folder or ``s3://`` prefix where the layout begins.
        output: folder of the sample index; made if need be.
        shards: URI under which shards are stored.
        recipe: what to do.
        workers: processes, by default one a processor that this one may use.
        work: folder for unfinished work, by default ``.work`` in ``output``.
        chunks: URI of finished chunks. Shares put them there; the whole takes what is there and does what is missing,
            so that its bytes do not depend on the number of shares. May be removed once the data set is there.
        part: which share, from 0, and how many there are. No data set is written; the summary is empty.

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
    if part is not None:
        _extract_part(store, chunks, recipe, folder, part, workers)
        return ExtractionSummary({}, {}, 0, "")
    with _locked(folder):
        split_file = _read_split_file(recipe.splits.file, store)
        plan = Plan(store, recipe)
        names = [name for name, _ in plan.chunks()]
        inputs = inputs_sha256(plan, names, recipe, shard_store.uri, split_file)
        done = finished(folder, output, shard_store, inputs)
        if done is not None:
            return ExtractionSummary(**done)
        placement = Placement(shard_store, folder, recipe.shard_bytes)
        _extract_chunks(plan, names, placement, folder, store.uri, workers, chunks)
        summary = _write_output(plan, names, placement, folder, output, shard_store.uri, recipe, split_file)
        remember(folder, output, inputs, asdict(summary), {shard.name: shard.size for shard in placement.shards})
        for path in folder.iterdir():
            if path.name not in (RECEIPT_FILE, _LOCK_FILE):
                path.unlink()
    return summary


def _extract_part(
    store: Store, chunks: str, recipe: ExtractRecipe, folder: Path, part: tuple[int, int], workers: int
) -> None:
    """Have every chunk of a share in the store ``chunks``."""
    number, count = part
    if not chunks or not 0 <= number < count:
        raise SettingsError(f"part {number} of {count}: parts are numbered from 0, and need a place for chunks")
    uri = open_store(chunks).uri
    with _locked(folder):
        plan = Plan(store, recipe)
        mine = [chunk for position, chunk in enumerate(plan.chunks()) if position % count == number]
        total = sum(len(entries) for _, entries in mine)
        jobs = (plan.job(name, entries, folder, uri, share=True) for name, entries in mine)
        with (
            counter(total, unit=plan.unit, label=f"extract part {number} of {count}") as progress,
            WorkerPool(store.uri, workers) as pool,
        ):
            deque(pool.run(jobs, progress), maxlen=0)


def _workers(given: int | None) -> int:
    workers = processors() if given is None else given
    if workers < 1:
        raise SettingsError(f"workers = {workers}: at least one is needed")
    return workers


def _extract_chunks(
    plan: Plan, chunks: list[str], placement: Placement, folder: Path, source: str, workers: int, finished: str
) -> None:
    """Have every chunk's rows in ``folder`` and its pixels in a shard."""
    finished = open_store(finished).uri if finished else ""
    complete = placement.resume(chunks, lambda chunk: rows_path(folder, chunk).exists())

    def jobs() -> Iterator[Job | str]:
        for number, (name, entries) in enumerate(plan.chunks()):
            if number < complete or _is_done(folder, name):
                progress.update(len(entries))
            if number >= complete:
                yield name if _is_done(folder, name) else plan.job(name, entries, folder, finished)

    with (
        counter(plan.count, unit=plan.unit, label="extract") as progress,
        WorkerPool(source, workers) as pool,
    ):
        placement.place(pool.run(jobs(), progress), final=chunks[-1] if chunks else "")


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
