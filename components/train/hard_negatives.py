"""Reading hard negatives: an index folder made by the sweep, or a plain list of ids."""

from collections import Counter
from pathlib import Path, PurePosixPath

from core.errors import BadInputError
from data.index import INDEX_FILE, SampleIndex, read_index
from data.labels import is_manipulated

SHOWN = 10  # ids listed in an error


def read_hard_negatives(path: Path, train: SampleIndex) -> frozenset[str]:
    """Return the sample ids of the hard negatives.

    Args:
        path: an index folder, whose samples are the hard negatives, or a text file with one id a line: a sample id, a
            media id, or a file name without its ending where only one train picture has it. Empty lines and lines
            that begin with ``#`` are skipped.
        train: rows of the train split.

    Raises:
        BadInputError: ``hard-negatives`` when there is no such file, with what makes it; when it cannot be read, or an
            id is not that of an authentic sample of the train split; the message lists them.
    """
    if not path.exists():
        raise BadInputError(
            "hard-negatives",
            f"{path} does not exist: the sweep makes it, python -m components.sweep_hard_negatives --output {path} "
            "with this data set and a model that is trained already; or train without hard negatives",
        )
    if path.is_dir():
        if not (path / INDEX_FILE).exists():
            raise BadInputError("hard-negatives", f"{path} is neither a sample index nor a file with one id a line")
        names = [str(name) for name in read_index(path).column("sample_id")]
    else:
        names = _read_list(path)
    known = _names(train)
    unknown = [name for name in names if name not in known]
    if unknown:
        _refuse(path, unknown, "no samples of the train split")
    authentic = set(train.column("sample_id")[~is_manipulated(train.column("label"))].tolist())
    forged = [name for name in names if known[name] not in authentic]
    if forged:
        _refuse(path, forged, "not authentic")
    return frozenset(known[name] for name in names)


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError("hard-negatives", f"{path} cannot be read as a list of ids: {error}") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _names(train: SampleIndex) -> dict[str, str]:
    """Map every name a list may use to its sample id; ids go before file names."""
    media = train.column("media_id").tolist()
    ids = train.column("sample_id").tolist()
    stems = [PurePosixPath(name).stem for name in media]
    once = {stem for stem, count in Counter(stems).items() if count == 1}
    by_stem = {stem: name for stem, name in zip(stems, ids, strict=True) if stem in once}
    return by_stem | dict(zip(media, ids, strict=True)) | {name: name for name in ids}


def _refuse(path: Path, names: list[str], what: str) -> None:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise BadInputError(
        "hard-negatives",
        f"{path}: {len(names)} of its ids are {what}: {', '.join(names[:SHOWN])}{more}; "
        "hard negatives must be authentic samples of the train split of this data set",
    )
