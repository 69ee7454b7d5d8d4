"""Forging a folder of photographs into the layout ``forged-authentic-masks``."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from os.path import commonpath
from pathlib import Path

import numpy as np

from core.errors import BadInputError, SettingsError
from core.files import write_text
from core.progress import counter
from media.forging.chance import derive_seed
from media.forging.cluster import AUTHENTIC, FORGED, MASKS, Line, Photo, forge_cluster
from media.forging.settings import ForgeRequest

PROVENANCE = "provenance.jsonl"
REJECTED = "rejected.jsonl"
REQUEST = "forging.json"
JOURNAL = ".forging"  # what is finished so far, a file a cluster; gone when all is

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")


@dataclass(frozen=True)
class ForgeSummary:
    """What came out: pictures of either label, forgeries by kind, and photographs set aside."""

    forged: int
    authentic: int
    rejected: int
    kinds: dict[str, int]


def find_photos(folder: Path) -> list[Path]:
    """Return the files below a folder that look like pictures by their extension, sorted.

    Raises:
        SettingsError: when the folder is absent or holds none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise SettingsError(f"{folder} holds no photographs ({', '.join(EXTENSIONS)})")
    return found


def forge_folder(photos: Sequence[Path], output: Path, request: ForgeRequest, *, workers: int = 1) -> ForgeSummary:
    """Forge photographs into a folder of the layout ``forged-authentic-masks``.

    Beside the pictures and masks it holds ``provenance.jsonl`` (a line a picture: its sources and its recipe),
    ``rejected.jsonl`` (a line a photograph that could not be used, or not as often as asked, with the reason), and
    ``forging.json`` (the request). A run that was interrupted goes on where it stopped; what comes out depends on
    the photographs and the request alone.

    Authentic pictures are twins of forgeries: they go through the same crops, scaling, noise and compression, so
    that the two populations differ by the forging alone. Twins through which nothing went keep the photograph's
    own bytes, whatever its type; a forgery that was not compressed is stored as PNG.

    Args:
        photos: files of authentic photographs.
        output: folder to write; empty, or an earlier run of the same request.
        request: what to make.
        workers: processes; 1 works in this one.

    Raises:
        SettingsError: when no photograph is given, or ``output`` holds the forgeries of another request.
        BadInputError: ``no-photographs`` when none could be used.
        StorageError: when the output cannot be written.
    """
    if not photos:
        raise SettingsError("no photographs were given to forge")
    named = name_photos(photos)
    _claim(output, named, request)
    clusters = _clusters(named, request)
    if not (output / PROVENANCE).exists():
        _work(clusters, output, request, workers)
    summary = _summarise(output)
    if summary.forged + summary.authentic == 0:
        raise BadInputError(
            "no-photographs", f"none of {len(named)} photographs could be used; see {output / REJECTED}"
        )
    return summary


def name_photos(photos: Sequence[Path]) -> list[Photo]:
    """Name each photograph by its stem where that is plain and unique, else by its stem and a hash of its path."""
    paths = sorted({path.absolute() for path in photos})
    root = Path(commonpath([path.parent for path in paths]))
    stems = Counter(path.stem.lower() for path in paths)
    named = []
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)
        if name != path.stem or stems[path.stem.lower()] > 1:
            name = f"{name[:80]}-{derive_seed(path.relative_to(root).as_posix()):016x}"
        named.append(Photo(name, path))
    return sorted(named, key=lambda photo: photo.id)


def _clusters(photos: Sequence[Photo], request: ForgeRequest) -> list[list[Photo]]:
    order = np.random.default_rng(derive_seed(request.seed, "clusters")).permutation(len(photos))
    shuffled = [photos[i] for i in order]
    return [shuffled[i : i + request.cluster] for i in range(0, len(shuffled), request.cluster)]


def _claim(output: Path, photos: Sequence[Photo], request: ForgeRequest) -> None:
    """Write the request into an empty output folder, or check that the folder is of the same one."""
    document = {"request": request.model_dump(mode="json"), "photos": [photo.id for photo in photos]}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    path = output / REQUEST
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise SettingsError(f"{output} holds forgeries of other photographs or settings; choose another folder")
    elif output.exists() and any(output.iterdir()):
        raise SettingsError(f"{output} is not empty and holds no forgeries; choose another folder")
    else:
        write_text(path, text)


def _forge_and_note(number: int, photos: Sequence[Photo], output: Path, request: ForgeRequest) -> int:
    """Forge a cluster, note in the journal that it is done, and return how many photographs it had."""
    done = forge_cluster(photos, output, request)
    write_text(output / JOURNAL / f"{number}.json", json.dumps(done))
    return len(photos)


def _work(clusters: list[list[Photo]], output: Path, request: ForgeRequest, workers: int) -> None:
    journal = [output / JOURNAL / f"{number}.json" for number in range(len(clusters))]
    pending = [number for number, path in enumerate(journal) if not path.exists()]
    with counter(sum(map(len, clusters)), unit="photo", label="forging") as count:
        count.update(sum(len(photos) for number, photos in enumerate(clusters) if number not in pending))
        if workers <= 1:
            for number in pending:
                count.update(_forge_and_note(number, clusters[number], output, request))
        else:
            # Spawned, not forked: a caller may already run threads (OpenCV, torch), which do not survive a fork.
            with ProcessPoolExecutor(min(workers, max(1, len(pending))), get_context("spawn")) as pool:
                running = [pool.submit(_forge_and_note, n, clusters[n], output, request) for n in pending]
                for future in as_completed(running):
                    count.update(future.result())
    _assemble(journal, output)


def _assemble(journal: list[Path], output: Path) -> None:
    """Join the journal into the two lists and drop it, and with it what a killed run left half written."""
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in journal]
    rejected = sorted((line for part in parts for line in part["rejected"]), key=lambda line: line["image"])
    written = sorted((line for part in parts for line in part["provenance"]), key=lambda line: line["image"])
    write_text(output / REJECTED, _lines(rejected))
    for folder in (FORGED, AUTHENTIC, MASKS):
        for path in (output / folder).glob(".*"):
            path.unlink()
    write_text(output / PROVENANCE, _lines(written))  # last: its presence says that all is done
    shutil.rmtree(output / JOURNAL)


def _lines(records: list[Line]) -> str:
    return "".join(json.dumps(record, sort_keys=True) + "\n" for record in records)


def _read_lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _summarise(output: Path) -> ForgeSummary:
    kinds = Counter(line["recipe"]["kind"] for line in _read_lines(output / PROVENANCE))
    authentic = kinds.pop("authentic", 0)
    rejected = len(_read_lines(output / REJECTED))
    return ForgeSummary(kinds.total(), authentic, rejected, dict(sorted(kinds.items())))
