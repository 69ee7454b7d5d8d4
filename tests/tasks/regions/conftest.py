"""Statistics of pictures made by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.regions.statistics import PixelStatistics, StatisticsCollector
from tests.region_models import make_model, models, tiny_model, trained  # noqa: F401 - fixtures

Picture = tuple[int, NDArray[np.bool_], NDArray[np.float32]]


@pytest.fixture(scope="session")
def collect() -> Callable[..., PixelStatistics]:
    """Collect the statistics of (label, mask, probabilities) triples; each is a group of its own unless given."""

    def build(
        pictures: Sequence[Picture],
        split: str = "val",
        groups: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        **options: object,
    ) -> PixelStatistics:
        collector = StatisticsCollector(**options)  # type: ignore[arg-type]
        for number, (label, mask, probabilities) in enumerate(pictures):
            row = {
                "sample_id": f"s{number}",
                "media_id": f"set/method/{number}",
                "group_id": groups[number] if groups else f"g{number}",
                "method": methods[number] if methods else ("splice" if label else "authentic"),
                "compression": "png",
                "label": label,
                "label_name": "forged" if label else "authentic",
                "split": split,
            }
            collector.add(row, np.asarray(mask, bool), np.asarray(probabilities, np.float32))
        return collector.build()

    return build


@pytest.fixture(scope="session")
def random_pictures() -> Callable[[int, int], list[Picture]]:
    """Make pictures of several sizes, half of them forged, with probabilities that say something about the mask."""

    def build(seed: int, count: int) -> list[Picture]:
        generator = np.random.default_rng(seed)
        pictures: list[Picture] = []
        for number in range(count):
            shape = tuple(generator.integers(3, 14, size=2))
            mask = np.zeros(shape, bool)
            if number % 2:
                mask[: 1 + shape[0] // 2, : generator.integers(1, shape[1] + 1)] = True
            noise = generator.random(shape)
            probabilities = np.clip(0.35 * mask + 0.65 * noise, 0, 1).astype(np.float32)
            if generator.random() < 0.3:  # values on the grid are where an off-by-one would show
                probabilities = (np.floor(probabilities * 8) / 8).astype(np.float32)
            pictures.append((number % 2, mask, probabilities))
        return pictures

    return build
