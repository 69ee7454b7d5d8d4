"""Checkpoints of small classifiers of faces with random weights, as training would write them."""

from pathlib import Path
from typing import Any

import torch

from data.index import read_index
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, save_checkpoint
from models.registry import get_family

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
INPUTS = {
    "spotter": InputSpec(view="whole", size=64, frames=2),
    "genconvit": InputSpec(view="whole", size=64, mean=(0, 0, 0), std=(1, 1, 1)),
}


def write_face_model(folder: Path, dataset: Path, family: str, generation: str, seed: int) -> Path:
    """Write the checkpoint of a member called like its family, for the crops of ``dataset``; return its path."""
    found = get_family(family)
    settings = found.settings.model_validate(SETTINGS[family])
    spec = PreprocessingSpec(extraction=read_index(dataset).spec.extraction, input=INPUTS[family])
    torch.manual_seed(seed)
    network = found.build(settings, 3, pretrained=False)
    size = spec.input.size
    network.train()(torch.rand(4, 3, size, size), *([torch.tensor([2, 2])] if found.clips else []))  # fills batch norm
    path = folder / f"{family}_{generation}_best.pth"
    checkpoint = Checkpoint(
        epoch=1,
        model_state_dict=network.state_dict(),
        model_type=family,
        model_settings=settings.to_json(),
        class_names=list(found.class_names),
        spec=spec.to_json(),
        spec_sha256=spec.sha256,
        member=family,
        generation=generation,
    )
    save_checkpoint(path, checkpoint)
    return path
