"""The passes of a sweep in parts: each leaves its statistics in a store; what is there is not done again."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.files import write_text
from core.storage import Store, join, open_store
from data.index import SampleIndex
from data.parts import part_of
from data.shards import ShardReader
from judging.collect import Rejections
from tasks.regions.prediction import Member, Prediction, predict_pictures
from tasks.regions.settings import RegionsSweep
from tasks.regions.statistics import PixelStatistics, collect_statistics

VAL_FILE = "val.arrow"
TRAIN_FILE = "train.arrow"
REJECTED_FILE = "rejected.jsonl"  # written last: a part that has it is finished


@dataclass(frozen=True)
class Searched:
    """What the passes over val and over the authentic pictures of train kept."""

    val: PixelStatistics
    train: PixelStatistics


class Searcher:
    """Runs one model over val and the authentic pictures of train, in the parts that the settings name.

    Args:
        member: the model.
        reader: of the shards of both.
        val: rows of val.
        train: authentic rows of train.
        settings: of the sweep.
        store: URI under which finished parts are kept; empty keeps them not.
        key: what the parts are of: index, model and settings.
    """

    def __init__(
        self,
        member: Member,
        reader: ShardReader,
        val: SampleIndex,
        train: SampleIndex,
        settings: RegionsSweep,
        store: str,
        key: tuple[str, ...],
    ) -> None:
        self._member = member
        self._reader = reader
        self._indexes = {VAL_FILE: val, TRAIN_FILE: train}
        self._settings = settings
        digest = hashlib.sha256("\n".join([*key, settings.model_dump_json()]).encode()).hexdigest()[:24]
        self._store: Store | None = open_store(join(store, digest)) if store else None
        self.rejections = Rejections()

    def all_parts(self, folder: Path) -> Searched:
        """Return what all parts found, in their order; those that are not in the store are done here.

        Args:
            folder: for the statistics, which are mapped from there.
        """
        parts = [self.part(number, folder / str(number)) for number in range(self._settings.parts)]
        return Searched(
            PixelStatistics.concatenate([part.val for part in parts]),
            PixelStatistics.concatenate([part.train for part in parts]),
        )

    def part(self, number: int, folder: Path) -> Searched:
        """Return what one part found, from the store where it is there, and leave it there.

        Args:
            number: of the part, from 0.
            folder: for the statistics, which are mapped from there.
        """
        name = f"{number}-of-{self._settings.parts}"
        folder.mkdir(parents=True, exist_ok=True)
        if self._store is None:
            return self._search(number, folder, self.rejections)
        if self._store.head(f"{name}/{REJECTED_FILE}") is None:
            found = Rejections()
            self._search(number, folder, found)
            write_text(folder / REJECTED_FILE, found.text())
            for file in (VAL_FILE, TRAIN_FILE, REJECTED_FILE):
                self._store.upload(folder / file, f"{name}/{file}")
        else:
            for file in (VAL_FILE, TRAIN_FILE):
                self._store.download(f"{name}/{file}", folder / file)
        self.rejections.add(self._store.read(f"{name}/{REJECTED_FILE}").decode())
        return Searched(PixelStatistics.load(folder / VAL_FILE), PixelStatistics.load(folder / TRAIN_FILE))

    def _search(self, number: int, folder: Path, rejections: Rejections) -> Searched:
        kept = {}
        for file, index in self._indexes.items():
            mine = part_of(index, number, self._settings.parts)
            predictions = self.predict(mine, f"{file.partition('.')[0]}, part {number + 1}", rejections)
            kept[file] = collect_statistics(predictions, [self._member.name], self._areas())[self._member.name]
            kept[file].save(folder / file)
        return Searched(kept[VAL_FILE], kept[TRAIN_FILE])

    def predict(self, index: SampleIndex, label: str, rejections: Rejections) -> Iterator[Prediction]:
        """Run the model over rows of either split."""
        return predict_pictures(
            [self._member],
            index,
            self._reader,
            **self._settings.inference.running(),
            progress=f"{self._member.name}: {label}",
            unreadable=rejections,
        )

    def _areas(self) -> tuple[float, ...]:
        """Return the areas whose image scores decide: one of them is that of mining."""
        mining = self._settings.mining_min_area_fraction
        return (*self._settings.min_areas, *(() if mining is None else (mining,)))
