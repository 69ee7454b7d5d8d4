"""Training: the loop against the bare one that people write, on the same network, batches, optimizer and precision.

Both sides iterate over one and the same ``DataLoader`` object (the same workers, the same samples), start from the same
weights, and do the same forward pass, loss, backward pass and step. Ours does beside that what a run needs: finite-loss
checks, named loss terms, learning-rate schedule, progress, and listening for a termination. What neither side's time
holds is what happens between epochs: checkpoints and validation.
"""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from skimage import data
from torch import nn

from bench.record import Ratio
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe, NearDuplicates
from components.train.distributed import Processes
from components.train.log import EpochLog
from components.train.loop import Parts, Trainer
from components.train.optimization import build_optimizer
from components.train.recipe import MonitorSettings, TrainRecipe
from components.train.step import Inputs, Run
from components.train.termination import Termination
from data.splits import SplitSettings
from media.pictures import encode_png
from media.spec import InputSpec

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
BATCH = 8
STEPS = 16  # an epoch
PAIRS = 5
SIZE = 128  # px

RECIPE = TrainRecipe(
    member="bench",
    family="forgery",
    model={"encoder": "tu-tf_efficientnet_lite0", "weights": "random"},
    input=InputSpec.model_validate({"views": {"tiles": {"size": SIZE, "overlap": 32}}}),
    policy="forgery",
    monitor=MonitorSettings(metric="f1"),
    batch_size=BATCH,
    epochs=PAIRS + 1,
    sampling={"samples_per_epoch": BATCH * STEPS},
    workers=1,
    checkpoint_every_steps=10**9,
)


def _dataset(folder: Path) -> Path:
    """Extract four photographs, each as it is and with a part of it moved; return the index folder."""
    for name in PHOTOGRAPHS:
        rgb = np.ascontiguousarray(getattr(data, name)()[:300, :400])
        mask = np.zeros(rgb.shape[:2], dtype=np.bool_)
        mask[100:180, 120:220] = True
        moved = np.where(mask[..., None], np.roll(rgb, 90, axis=0), rgb)
        for part, picture, forged in (("none", rgb, mask & False), ("moved", moved, mask)):
            for kind, content in (("images", picture), ("masks", forged)):
                path = folder / "source" / kind / part / f"{name}_{part}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_png(content))
    recipe = ExtractRecipe(
        layout="images-masks",
        dataset="bench",
        splits=SplitSettings(all="train"),
        near_duplicates=NearDuplicates(distance=None),
    )
    extract_frames(str(folder / "source"), folder / "index", str(folder / "shards"), recipe, workers=1)
    return folder / "index"


def _bare_epoch(parts: Parts, recipe: TrainRecipe) -> Callable[[int], float]:
    """Return a function that trains a copy of the network for one epoch with a bare loop; samples a second."""
    network = copy.deepcopy(parts.network)
    optimizer = build_optimizer(network, recipe.optimizer)
    device = next(network.parameters()).device

    def epoch(number: int) -> float:
        parts.batches.start_at(number, 0)
        samples = 0
        network.train()
        start = time.perf_counter()
        for batch in parts.loader:
            views = {name: value.to(device) for name, value in batch["views"].items()}
            batch = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
            loss = parts.criterion(network(parts.normalize(views)), batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            samples += len(batch["row"])
        return samples / (time.perf_counter() - start)

    return epoch


def measure() -> list[Ratio]:
    """Train epochs in turns, ours and a bare one, the first of each uncounted; compare samples a second."""
    with TemporaryDirectory(prefix="bench-training-") as temporary:
        folder = Path(temporary)
        processes = Processes(0, 1, torch.device("cpu"))
        termination = Termination()
        run = Run(Inputs(_dataset(folder)), folder / "out", RECIPE, str(folder / "state"), None, processes, termination)
        parts = run.parts(run.network(starting=True))
        bare = _bare_epoch(parts, RECIPE)
        theirs: list[float] = []

        def in_between(_: nn.Module) -> dict[str, float]:
            theirs.append(bare(len(theirs)))
            return {"f1": 0.0}

        log = EpochLog(None)
        Trainer(RECIPE, replace(parts, validate=in_between), run.state, log, processes, termination).run()
    ours = [line["samples_per_s"] for line in log.lines]
    return [
        Ratio(
            "training",
            statistics.median(ours[1:]),
            "samples/s",
            f"bare loop, same network (efficientnet-lite0 FPN, {SIZE} px), loader and batch",
            [mine / peer for mine, peer in zip(ours[1:], theirs[1:], strict=True)],
            goal=0.97,
        )
    ]
