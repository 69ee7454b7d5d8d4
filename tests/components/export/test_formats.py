import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from components.export.formats import Exported, ExportError, example_pixels, write_onnx, write_torchscript
from media.spec import InputSpec
from models.inputs import Normalize
from models.registry import get_family


class Grouped(nn.Module):
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logit = nn.functional.interpolate(self.body(x), scale_factor=2.0, mode="bilinear")
        return logit * torch.sigmoid(logit)


@pytest.fixture(scope="module")
def network() -> Exported:
    return Exported(Normalize.from_spec(InputSpec()), Grouped()).eval()


@pytest.fixture(scope="module")
def written(network: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    pixels = example_pixels(3, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", category=FutureWarning)
        write_torchscript(network, pixels, folder / "model.ts", '{"a":1}')
    write_onnx(network, pixels, folder / "model.onnx", '{"a":1}', 18)
    return folder


def test_onnx_takes_bytes_and_gives_logits_for_any_batch(written: Path) -> None:
    session = onnxruntime.InferenceSession(written / "model.onnx")
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("pixels", "tensor(uint8)", [3, 64, 64])
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
    write_onnx(network, example_pixels(3, 64), tmp_path / "model.onnx", '{"a":1}', 18)
    assert (tmp_path / "model.onnx").read_bytes() == (written / "model.onnx").read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_both_formats_follow_the_network(written: Path, network: Exported, batch: int) -> None:
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 3, 64, 64), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script: Any = torch.jit.load(written / "model.ts")
        np.testing.assert_allclose(script(torch.from_numpy(pixels)).numpy(), expected, atol=1e-5)
    session = onnxruntime.InferenceSession(written / "model.onnx")
    np.testing.assert_allclose(session.run(["logits"], {"pixels": pixels})[0], expected, atol=1e-5)


def test_torchscript_is_frozen(written: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.load(written / "model.ts")
    assert list(script.parameters()) == []
    assert "batch_norm" not in str(script.inlined_graph)


def test_only_the_deprecation_is_silenced(network: Exported, tmp_path: Path) -> None:
    class Warns(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            warnings.warn("something else is deprecated", FutureWarning, stacklevel=1)
            return x

    noisy = Exported(Normalize.from_spec(InputSpec()), Warns()).eval()
    with pytest.warns(FutureWarning) as caught:
        write_torchscript(noisy, example_pixels(3, 32), tmp_path / "model.ts", "{}")
    assert {str(warning.message) for warning in caught} == {"something else is deprecated"}


def test_a_decision_about_data_is_still_warned_of(tmp_path: Path) -> None:
    class Decides(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1] if x.mean() > 0 else -x[:, :1]

    network = Exported(Normalize.from_spec(InputSpec()), Decides()).eval()
    with pytest.warns(torch.jit.TracerWarning, match="Python boolean"):
        write_torchscript(network, example_pixels(3, 32), tmp_path / "model.ts", "{}")


def test_what_cannot_be_written_is_an_error_that_names_member_and_format(tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return object()

    network = Exported(Normalize.from_spec(InputSpec()), Nothing()).eval()
    for write, name in ((write_torchscript, "TorchScript"), (write_onnx, "ONNX")):
        arguments: list[Any] = [network, example_pixels(3, 32), tmp_path / "member" / "model", "{}"]
        with pytest.raises(ExportError, match=f"member cannot be written as {name}"):
            write(*arguments, *([18] if write is write_onnx else []))  # type: ignore[operator]
    assert not (tmp_path / "member").exists()


@pytest.mark.parametrize("gate", ["logit", "features", "none"])
def test_every_gate_of_the_forgery_family_can_be_written(gate: str, tmp_path: Path) -> None:
    family = get_family("forgery")
    settings = family.settings.model_validate(
        {"encoder": "tu-test_efficientnet", "weights": "random", "gate": gate, "pyramid_channels": 32}
    )
    torch.manual_seed(0)
    network = Exported(Normalize.from_spec(InputSpec()), family.build(settings, 3, pretrained=False)).eval()
    write_onnx(network, example_pixels(3, 64), tmp_path / "model.onnx", "{}", 18)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"pixels": pixels})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
