import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from bundle import Format
from components.export.formats import Exported, ExportError, write, write_onnx, write_torchscript
from components.export.networks import eager_run, take_apart
from media.spec import InputSpec
from media.view import View
from media.views.face import FaceView
from media.views.tiles import TilesView
from models.family import FAMILIES
from models.network import Network, Part, only


def spec_of(view: View) -> InputSpec:
    return InputSpec(views={view.name: view})


SPEC = spec_of(TilesView(size=64, overlap=16))


class Grouped(Network):
    """Has what the forgery networks have: convolution, both normalisations, up-sampling, a gate."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.GroupNorm(2, 8),
            nn.Conv2d(8, 1, 1),
        )

    def forward(self, views: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logit = nn.functional.interpolate(self.body(only(views)), scale_factor=2.0, mode="bilinear")
        return logit * torch.sigmoid(logit)


@pytest.fixture(scope="module")
def network() -> Exported:
    return take_apart(Grouped().eval(), SPEC)["model"]


@pytest.fixture(scope="module")
def written(network: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    with warnings.catch_warnings():
        warnings.simplefilter("error", category=FutureWarning)
        write_torchscript(network, folder / "model.ts", '{"a":1}')
    write_onnx(network, folder / "model.onnx", '{"a":1}', 18)
    return folder


def test_onnx_takes_bytes_and_gives_logits_for_any_batch(written: Path) -> None:
    session = onnxruntime.InferenceSession(written / "model.onnx")
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("tiles", "tensor(uint8)", [3, 64, 64])
    assert (taken.name, taken.type, taken.shape[1:]) == ("logits", "tensor(float)", [1, 64, 64])
    assert isinstance(given.shape[0], str)
    assert given.shape[0] == taken.shape[0]


def test_onnx_is_one_file_of_the_opset_asked_for_with_its_metadata(written: Path) -> None:
    model = onnx.load(written / "model.onnx", load_external_data=False)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert {prop.key: prop.value for prop in model.metadata_props} == {"veriframe.json": '{"a":1}'}
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert sorted(path.name for path in written.iterdir()) == ["model.onnx", "model.ts"]


def test_onnx_holds_no_trace_of_the_machine_it_was_written_on(written: Path) -> None:
    content = (written / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_onnx_is_the_same_bytes_every_time(written: Path, network: Exported, tmp_path: Path) -> None:
    write_onnx(network, tmp_path / "model.onnx", '{"a":1}', 18)
    assert (tmp_path / "model.onnx").read_bytes() == (written / "model.onnx").read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_both_formats_follow_the_network(written: Path, network: Exported, batch: int) -> None:
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 3, 64, 64), dtype=np.uint8)
    expected = eager_run(network)({"tiles": pixels})["logits"]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.load(written / "model.ts")
        (logits,) = script(torch.from_numpy(pixels))
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
    session = onnxruntime.InferenceSession(written / "model.onnx")
    np.testing.assert_allclose(session.run(["logits"], {"tiles": pixels})[0], expected, atol=1e-5)


def test_torchscript_is_frozen(written: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.load(written / "model.ts")
    assert list(script.parameters()) == []
    assert "batch_norm" not in str(script.inlined_graph)


def part_of(module: nn.Module) -> Exported:
    return Exported(Part(module, spec_of(FaceView(size=32)).signature)).eval()


def test_only_the_deprecation_is_silenced(tmp_path: Path) -> None:
    class Warns(nn.Module):
        def forward(self, views: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor]:
            warnings.warn("something else is deprecated", FutureWarning, stacklevel=1)
            return (views["face"],)

    with pytest.warns(FutureWarning) as caught:
        write_torchscript(part_of(Warns()), tmp_path / "model.ts", "{}")
    assert {str(warning.message) for warning in caught} == {"something else is deprecated"}


def test_a_decision_about_data_is_still_warned_of(tmp_path: Path) -> None:
    class Decides(nn.Module):
        def forward(self, views: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor]:
            x = views["face"].float()
            return (x[:, :1] if x.mean() > 0 else -x[:, :1],)

    with pytest.warns(torch.jit.TracerWarning, match="Python boolean"):
        write_torchscript(part_of(Decides()), tmp_path / "model.ts", "{}")


@pytest.mark.parametrize(("kind", "name"), [("torchscript", "TorchScript"), ("onnx", "ONNX")])
def test_what_cannot_be_written_is_an_error_that_names_member_and_format(
    tmp_path: Path, kind: Format, name: str
) -> None:
    class Nothing(nn.Module):
        def forward(self, views: Mapping[str, torch.Tensor]) -> Any:
            return object()

    with pytest.raises(ExportError, match=f"member cannot be written as {name}"):
        write(part_of(Nothing()), kind, tmp_path / "member" / "model", "{}", 18)
    assert not (tmp_path / "member").exists()


@pytest.mark.parametrize("gate", ["logit", "features", "none"])
def test_every_gate_of_the_forgery_family_can_be_written(gate: str, tmp_path: Path) -> None:
    family = FAMILIES.get("forgery")
    settings = family.settings.model_validate(
        {"encoder": "tu-test_efficientnet", "weights": "random", "gate": gate, "pyramid_channels": 32}
    )
    torch.manual_seed(0)
    built = family.build(settings, SPEC, ("authentic", "forged"), pretrained=False).eval()
    network = take_apart(built, SPEC)["model"]
    write_onnx(network, tmp_path / "model.onnx", "{}", 18)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    expected = eager_run(network)({"tiles": pixels})["logits"]
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"tiles": pixels})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
