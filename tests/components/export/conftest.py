"""Random checkpoints and a bundle exported from two of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.export.export import ExportSummary, export
from media.ela import ElaSpec
from media.extraction import ExtractionSpec
from media.spec import InputSpec, PreprocessingSpec
from media.views.tiles import TilesView
from models.checkpoint import Checkpoint, save_checkpoint
from models.family import FAMILIES


def spec_of(view: TilesView) -> PreprocessingSpec:
    return PreprocessingSpec(extraction=ExtractionSpec(), input=InputSpec(views={view.name: view}))


CLASSES = ("authentic", "forged")
COLOUR = spec_of(TilesView(size=64, overlap=16))
ELA = spec_of(TilesView(size=96, overlap=32, ela=ElaSpec()))

MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Write the checkpoint of a small network with random weights, as training would."""

    def make(
        member: str,
        seed: int = 0,
        spec: PreprocessingSpec = COLOUR,
        stage: str = "v4",
        classes: tuple[str, ...] = CLASSES,
    ) -> Path:
        family = FAMILIES.get("forgery")
        settings = family.settings.model_validate(
            {
                "encoder": "tu-test_efficientnet",
                "weights": "random",
                "pyramid_channels": 32,
                "segmentation_channels": 32,
            }
        )
        torch.manual_seed(seed)
        network = family.build(settings, spec.input, classes, pretrained=False)
        # Statistics of a batch, so that evaluation mode does something else than the identity.
        network.train()({"tiles": torch.randn(4, *spec.input.only.tensor.shape)})
        path = tmp_path_factory.mktemp("checkpoint") / f"{member}_{stage}_best.pth"
        checkpoint = Checkpoint(
            epoch=1,
            model_state_dict=network.state_dict(),
            model_type=family.name,
            model_settings=settings.to_json(),
            class_names=list(classes),
            spec=spec.to_json(),
            spec_sha256=spec.digest,
            member=member,
            stage=stage,
        )
        save_checkpoint(path, checkpoint)
        return path

    return make


@pytest.fixture(scope="session")
def checkpoints(make_checkpoint: MakeCheckpoint) -> list[Path]:
    """One member that sees colours in tiles of 64 px, one that sees error levels too in tiles of 96 px."""
    return [make_checkpoint("colour", 0), make_checkpoint("ela", 1, ELA)]


@pytest.fixture(scope="session")
def exported(tiny_dataset: Path, checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    """The bundle of both; not to be changed."""
    return export(tiny_dataset, checkpoints, tmp_path_factory.mktemp("bundle") / "bundle", {})
