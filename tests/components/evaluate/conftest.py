from collections.abc import Callable
from pathlib import Path

import pytest

from components.export.export import export
from tests.region_models import bundles, make_model, models  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def face_bundle(
    tiny_faces: Path, make_face_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of a network of clips and one of single faces; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles") / "faces"
    members = [make_face_model("spotter", seed=1), make_face_model("genconvit", seed=2)]
    recipe = {"threshold": "balanced_accuracy", "formats": ["onnx"], "parity": {"max_flipped_share": 1.0}}
    export(tiny_faces, members, folder, recipe)
    return folder
