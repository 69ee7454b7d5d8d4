"""Celeb-DF v2, whose official list joins nearly all of its identities: how it is divided all the same."""

import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.indexing import Assignment, Columns, assign
from components.extract_frames.recipe import ExtractRecipe
from core.storage import open_store
from data.entries.entry import Entry
from data.index import SPLITS, read_index
from data.layout import LayoutOptions, read_layout
from data.splits import SplitError
from pipelines.resolution import load_pipeline
from tests.clips import portrait, write_clip

IDS = [number for number in range(62) if number not in (14, 15, 18)]
UNLISTED = IDS[-3:]  # the identities that the list leaves out
LIST = "List_of_testing_videos.txt"


def names() -> tuple[list[str], list[str]]:
    """Return clips in the numbers of Celeb-DF v2, and its list: 518 clips that join 56 of 59 identities.

    Every identity's ten clips are targets of its neighbours in a ring, but those that the list leaves out of one
    another.
    """
    real = [f"Celeb-real/id{one}_{scene:04d}.mp4" for one in IDS for scene in range(10)]
    youtube = [f"YouTube-real/{number:05d}.mp4" for number in range(300)]
    pairs = [
        (target, IDS[(place + step) % len(IDS)])
        for step in range(1, 12)
        for place, target in enumerate(IDS)
        if not {target, IDS[(place + step) % len(IDS)]} <= set(UNLISTED)
    ]
    made = list(islice((f"Celeb-synthesis/id{a}_id{b}_{n:04d}.mp4" for a, b in pairs for n in range(10)), 5639))
    listed = [(a, b) for a, b in pairs if not {a, b} & set(UNLISTED)]
    fakes = [f"Celeb-synthesis/id{a}_id{b}_0003.mp4" for a, b in listed[:340]]
    reals = [name for name in real if name.endswith("_0001.mp4") or name.endswith("_0002.mp4")]
    reals = [name for name in reals if not any(f"/id{one}_" in name for one in UNLISTED)][:108] + youtube[:70]
    return real + youtube + made, [f"1 {name}" for name in reals] + [f"0 {name}" for name in fakes]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    root = tmp_path_factory.mktemp("celeb")
    clips, lines = names()
    assert (len(clips), len(lines)) == (590 + 300 + 5639, 518)
    for folder in ("Celeb-real", "Celeb-synthesis", "YouTube-real"):
        (root / folder).mkdir()
    for clip in clips:
        (root / clip).write_bytes(b"x")
    (root / LIST).write_text("\n".join(lines))
    items = list(read_layout("celeb-df", open_store(str(root)), LayoutOptions()))
    found = [item for item in items if isinstance(item, Entry)]
    assert len(found) == len(items) == len(clips)
    return found


def divide(entries: list[Entry], recipe: ExtractRecipe, tmp_path: Path) -> Assignment:
    """Divide entries of one sample each."""

    def number(text: str) -> int:
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    columns = Columns()
    for entry in entries:
        row = {
            "sample_id": f"{number(entry.name):016x}",
            "label": entry.label,
            "forged_fraction": float(entry.label or 0),
        }
        links = [number(link) for link in entry.links]
        line = {"row": row, "links": links, "copies": number(entry.name), "medium": number(entry.name)}
        columns.add(line | {"fingerprints": []}, SPLITS.index(entry.split) if entry.split else -1)
    return assign(columns, recipe, [], tmp_path)


def published() -> ExtractRecipe:
    return load_pipeline("deepfake").extraction["celebdf"]


def test_whole_identities_leave_nothing_to_train_on_beside_the_official_list(
    entries: list[Entry], tmp_path: Path
) -> None:
    parted = published()
    whole = parted.model_copy(update={"splits": parted.splits.model_copy(update={"unit": "component"})})
    with pytest.raises(SplitError, match=r"no manipulated sample.*splits\.unit = medium"):
        divide(entries, whole, tmp_path)


def test_the_published_recipe_trains_on_what_the_official_list_leaves(entries: list[Entry], tmp_path: Path) -> None:
    assignment = divide(entries, published(), tmp_path)
    counts = Counter(
        (SPLITS[split], entry.label, bool(entry.split))
        for split, entry in zip(assignment.splits.tolist(), entries, strict=True)
    )
    assert {key: count for key, count in counts.items() if key[2]} == {("test", 0, True): 178, ("test", 1, True): 340}
    assert counts["train", 1, False] + counts["val", 1, False] == 5639 - 340
    assert counts["train", 0, False] + counts["val", 0, False] == 890 - 178
    assert counts["val", 1, False] / 5299 == pytest.approx(1 / 9, abs=0.01)
    assert counts["val", 0, False] / 712 == pytest.approx(1 / 9, abs=0.01)
    assert len(np.unique(assignment.groups)) == len(entries)  # so that intervals are drawn by clips


def test_what_the_splits_have_in_common_is_counted(entries: list[Entry], tmp_path: Path) -> None:
    assignment = divide(entries, published(), tmp_path)
    leak, judged = assignment.leak, assignment.splits != SPLITS.index("train")
    assert (leak.links, leak.of_links) == (59, 59 + 300)  # all identities, no clip of YouTube
    youtube = np.array(["YouTube" in entry.name for entry in entries])
    assert (leak.samples, leak.of_samples) == ((judged & ~youtube).sum(), judged.sum())


def test_the_published_recipe_extracts_a_small_celeb_df_and_its_report_says_what_leaks(
    tmp_path: Path, rejected: Callable[[Path], dict[str, str]]
) -> None:
    def clip(name: str, tint: int) -> None:
        write_clip(tmp_path / "source" / name, [np.minimum(portrait(n), 250 - 3 * tint) for n in range(4)])

    reals = [f"Celeb-real/id{one}_{scene:04d}.mp4" for one in (0, 1) for scene in range(3)]
    fakes = [f"Celeb-synthesis/id{a}_id{1 - a}_{scene:04d}.mp4" for a in (0, 1) for scene in range(3)]
    for tint, name in enumerate(reals + fakes):
        clip(name, tint)
    (tmp_path / "source" / LIST).write_text(f"1 {reals[0]}\n0 {fakes[0]}\n")
    extract_frames(str(tmp_path / "source"), tmp_path / "out", str(tmp_path / "shards"), published(), workers=1)
    rows = read_index(tmp_path / "out").rows()
    split_of = {row["media_id"].partition("/")[2]: row["split"] for row in rows}
    assert {name for name, split in split_of.items() if split == "test"} == {reals[0], fakes[0]}
    assert {(row["split"], row["label"]) for row in rows} == {(s, k) for s in SPLITS for k in (0, 1)}
    assert len({row["group_id"] for row in rows}) == 12
    assert rejected(tmp_path / "out") == {}
    report = (tmp_path / "out" / "report.html").read_text()
    assert "splits.unit = medium" in report
    assert "2 of 2 of them lie in several splits" in report
