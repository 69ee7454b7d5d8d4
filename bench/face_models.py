"""Checkpoints of small classifiers of faces with random weights, as training would write them."""

from pathlib import Path
from typing import Any

import torch

from core.settings import merge
from data.index import read_index
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, save_checkpoint
from models.family import FAMILIES

SETTINGS: dict[str, dict[str, Any]] = {
    "spotter": {
        "backbone": "test_efficientnet",
        "weights": "random",
        "pyramid_channels": 8,
        "gru_width": 8,
        "gru_layers": 1,
        "temporal_layers": 1,
    },
    "genconvit": {
        "backbones": ["test_efficientnet", "test_convnext"],
        "weights": ["random", "random"],
        "autoencoder_widths": [4, 8, 8, 8, 8],
        "latent_width": 4,
    },
}
INPUTS: dict[str, dict[str, Any]] = {
    "spotter": {"views": {"face": {"size": 64}}, "frames": 2},
    "genconvit": {"views": {"face": {"size": 64, "mean": (0, 0, 0), "std": (1, 1, 1)}}},
}


def write_face_model(folder: Path, dataset: Path, family: str, stage: str, seed: int) -> Path:
    """Write the checkpoint of a member called like its family, for the crops of ``dataset``; return its path.

    The input's margin is the one that the crops were cut with.
    """
    found, samples = FAMILIES.get(family), read_index(dataset).spec
    settings = found.settings.model_validate(SETTINGS[family])
    margin = {"margin": samples.extraction.faces.margin} if samples.extraction.faces else {}
    given = merge(INPUTS[family], {"views": {"face": margin}})
    spec = PreprocessingSpec(extraction=samples.extraction, input=InputSpec.model_validate(given))
    torch.manual_seed(seed)
    network = found.build(settings, spec.input, samples.classes, pretrained=False)
    views = {name: torch.rand(4, *array.shape) for name, array in spec.input.signature.items()}
    network.train()(views, torch.tensor([2, 2]) if found.clips else None)  # fills batch norm
    path = folder / f"{family}_{stage}_best.pth"
    checkpoint = Checkpoint(
        epoch=1,
        model_state_dict=network.state_dict(),
        model_type=family,
        model_settings=settings.to_json(),
        class_names=list(samples.classes),
        spec=spec.to_json(),
        spec_sha256=spec.digest,
        member=family,
        stage=stage,
    )
    save_checkpoint(path, checkpoint)
    return path
