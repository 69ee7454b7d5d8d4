"""Reading and augmenting: shards and the ``forgery`` policy against the loop over loose files that people write.

Both sides load the same files' bytes in the same order and apply the same published policy. The peer's data set is the
usual one: ``cv2.imread`` and a conversion to RGB, the mask from a file of its own (zeros where there is none), one
``albumentations.Compose`` that ends in ``Normalize`` and ``ToTensorV2``, and PyTorch's own collation. Both loaders have
the same worker processes and settings.

Ours delivers uint8, which the device normalises; each case is also measured with ``models.inputs.Normalize`` run on the
CPU in the training process, so that both sides end with the same float32 batches.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch.utils.data import DataLoader, Dataset

import media.transforms  # isort: skip  # noqa: F401 - before albumentations, which alone would ask PyPI for updates
import albumentations as A  # isort: skip  # noqa: N812

from bench.record import Ratio
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.settings import validate
from data.datasets import collate
from data.index import read_index
from data.shards import ShardReader
from media.spec import InputSpec
from media.views.tiles import TilesView
from models.inputs import Normalize
from tasks.regions.training import PictureDataset

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina", "hubble_deep_field")
SIZE = 512  # px, as published
_INPUT = InputSpec(views={TilesView.name: TilesView(size=SIZE)})
BATCH = 4  # as published
WORKERS = 2
SAMPLES = 112  # a round: every picture 8 times
ROUNDS = 5


class LooseFiles(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """The peer: pictures and masks in files of their own."""

    def __init__(self, pictures: list[Path], masks: list[Path]) -> None:
        self.pictures = pictures
        self.masks = masks
        noise = A.OneOf([A.GaussNoise(std_range=(0.01, 0.05)), A.GaussianBlur((3, 3)), A.MedianBlur((3, 3))], p=0.3)
        colour = A.OneOf(
            [A.RandomBrightnessContrast(0.2, 0.2), A.HueSaturationValue(10, 20, 20), A.ColorJitter(0.2, 0.2, 0.2, 0.1)],
            p=0.5,
        )
        orientation = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.RandomRotate90(p=0.5)]
        crop = A.RandomResizedCrop((SIZE, SIZE), scale=(0.7, 1.0))
        self.transform = A.Compose([crop, *orientation, noise, colour, A.Normalize(), A.ToTensorV2()])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Load one sample."""
        image = cv2.cvtColor(cv2.imread(str(self.pictures[row])), cv2.COLOR_BGR2RGB)
        path = self.masks[row]
        if not path.exists():
            mask = np.zeros(image.shape[:2], dtype=np.float32)
        elif path.suffix == ".npy":
            mask = np.load(path).astype(np.float32)
        else:
            mask = (np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) > 0).astype(np.float32)
        result = self.transform(image=image, mask=mask)
        return result["image"], result["mask"][None], int(path.exists())


def _photographs() -> list[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Return every photograph as it is, and with a rectangle of it replaced by another part; name, RGB and mask."""
    pictures = []
    for name in PHOTOGRAPHS:
        rgb = np.ascontiguousarray(getattr(data, name)()[..., :3])
        mask = np.zeros(rgb.shape[:2], dtype=np.bool_)
        pictures.append((f"authentic/{name}", rgb, mask))
        height, width = mask.shape
        forged = mask.copy()
        forged[height // 3 : height // 2, width // 3 : width // 2] = True
        moved = np.roll(rgb, (height // 4, width // 4), axis=(0, 1))
        pictures.append((f"forged/{name}_moved", np.where(forged[..., None], moved, rgb), forged))
    return pictures


def _write(folder: Path, picture_suffix: str, mask_suffix: str) -> tuple[list[Path], list[Path]]:
    """Write the layout ``forged-authentic-masks``; return each picture's path and that of its mask, if it has one."""
    pictures, masks = [], []
    for name, rgb, mask in _photographs():
        pictures.append(folder / "train_images" / f"{name}{picture_suffix}")
        masks.append(folder / "train_masks" / f"{Path(name).name}{mask_suffix}")
        for path in (pictures[-1], masks[-1]):
            path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if picture_suffix == ".jpg" else []
        cv2.imwrite(str(pictures[-1]), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
        if mask.any() and mask_suffix == ".npy":
            np.save(masks[-1], mask)
        elif mask.any():
            cv2.imwrite(str(masks[-1]), mask.astype(np.uint8) * 255)
    return pictures, masks


def _ours(source: Path, folder: Path, pictures: list[Path]) -> tuple[PictureDataset, list[int]]:
    """Extract ``source``; return its data set and the row of each of ``pictures``."""
    settings = {"layout": "forged-authentic-masks", "dataset": "bench", "splits": {"all": "train"}}
    shards = str(folder / "shards")
    extract_frames(str(source), folder / "index", shards, validate(ExtractRecipe, settings, "bench"), workers=WORKERS)
    index = read_index(folder / "index")
    rows = {Path(media_id).stem: row for row, media_id in enumerate(index.column("media_id"))}
    reader = ShardReader(shards)
    reader.prefetch(index.column("shard"))
    dataset = PictureDataset(index, reader, "forgery", _INPUT)
    return dataset, [rows[path.stem] for path in pictures]


def _compare(name: str, picture_suffix: str, mask_suffix: str) -> list[Ratio]:
    with TemporaryDirectory(prefix="bench-reading-") as temporary:
        folder = Path(temporary)
        pictures, masks = _write(folder / "source", picture_suffix, mask_suffix)
        dataset, rows = _ours(folder / "source", folder, pictures)
        order = np.random.default_rng(0).permutation(SAMPLES) % len(pictures)
        settings = {"batch_size": BATCH, "num_workers": WORKERS, "persistent_workers": True}
        peer = DataLoader(LooseFiles(pictures, masks), sampler=order.tolist(), **settings)
        keys = [(rows[picture], seed) for seed, picture in enumerate(order)]
        ours = DataLoader(dataset, sampler=keys, collate_fn=collate, **settings)
        normalize = Normalize(_INPUT)

        def read_ours() -> None:
            for _ in ours:
                pass

        def normalise_ours() -> None:
            with torch.inference_mode():
                for batch in ours:
                    normalize(batch["views"])

        def read_peer() -> None:
            for _ in peer:
                pass

        reading, normalised, theirs = _alternate([read_ours, normalise_ours, read_peer])
    against = f"cv2 and albumentations over loose files, {WORKERS} workers"
    return [
        _item(
            f"reading and augmenting {name}", f"{against}; ours normalises later, on the device", reading, theirs, 1.2
        ),
        _item(f"reading, augmenting and normalising {name} on the CPU", against, normalised, theirs),
    ]


def _item(name: str, against: str, ours: list[float], peer: list[float], goal: float | None = None) -> Ratio:
    rounds = [theirs / mine for mine, theirs in zip(ours, peer, strict=True)]
    return Ratio(name, SAMPLES / statistics.median(ours), "samples/s", against, rounds, goal)


def _alternate(runs: list[Callable[[], None]]) -> list[list[float]]:
    """Time ``runs`` in turns, every other turn backwards, the first uncounted; return the seconds of each."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(ROUNDS + 1):
        order = range(len(runs)) if turn % 2 else reversed(range(len(runs)))
        for number in order:
            start = time.perf_counter()
            runs[number]()
            if turn:
                seconds[number].append(time.perf_counter() - start)
    return seconds


def measure() -> list[Ratio]:
    """Compare on JPEG pictures with PNG masks, and on PNG pictures with masks in NumPy files."""
    return [*_compare("JPEG", ".jpg", ".png"), *_compare("PNG", ".png", ".npy")]
