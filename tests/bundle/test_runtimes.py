import io
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bundle import Bundle, Format, Run, open_networks, read_bundle
from bundle.runtimes import _open_onnx, _open_torchscript
from components.export.networks import eager_run, take_apart, write_member
from core.errors import MismatchError, SettingsError
from core.files import sha256_file
from media.spec import InputSpec
from media.views.face import FaceView
from models.network import Network

FORMATS: list[Format] = ["torchscript", "onnx"]
SUFFIX: dict[Format, str] = {"torchscript": "ts", "onnx": "onnx"}
OPENERS = {"torchscript": _open_torchscript, "onnx": _open_onnx}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_a_runtime_follows_the_network_at_any_batch_size(
    exported: Path, networks: dict[str, dict[str, Run]], kind: Format, batch: int
) -> None:
    bundle = read_bundle(exported)
    opened = open_networks(bundle, kind)
    assert {name: set(own) for name, own in opened.items()} == {"colour": {"model"}, "ela": {"model"}}
    for member in bundle.document.members:
        ((name, spec),) = member.model.inputs.items()
        arrays = {name: np.random.default_rng(batch).integers(0, 256, (batch, *spec.shape), dtype=np.uint8)}
        outputs = opened[member.name]["model"](arrays)
        assert list(outputs) == ["logits"]
        assert outputs["logits"].dtype == np.float32
        assert outputs["logits"].shape == (batch, 1, *spec.shape[1:])
        np.testing.assert_allclose(outputs["logits"], networks[member.name]["model"](arrays)["logits"], atol=1e-4)


class TwoViews(Network):
    """Reads two views of which the second may be missing; its outputs tell which is which."""

    def frame_part(self) -> tuple[nn.Module, tuple[str, ...]]:
        return Weighed(), ("logits", "vectors")


class Weighed(nn.Module):
    def forward(self, views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        first, second = (views[name].mean(dim=(1, 2, 3)) for name in ("first", "second"))
        return (first - 10 * second * views["second_present"])[:, None], torch.stack([first, second], dim=1)


def two_views() -> tuple[InputSpec, dict[str, NDArray[Any]]]:
    class First(FaceView):
        name: ClassVar[str] = "first"

    class Second(FaceView):
        name: ClassVar[str] = "second"
        optional: ClassVar[bool] = True

    views = {"second": Second(size=32), "first": First(size=48)}
    spec = InputSpec.model_construct(views=views, frames=1)
    pixels = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {
        name: pixels.integers(0, 256, (3, *view.tensor.shape), dtype=np.uint8) for name, view in views.items()
    }
    return spec, arrays | {"second_present": np.array([True, False, True])}


@pytest.mark.parametrize("kind", FORMATS)
def test_several_views_and_presence_reach_the_network_by_their_names(tmp_path: Path, kind: Format) -> None:
    spec, arrays = two_views()
    parts = take_apart(TwoViews().eval(), spec)
    written = write_member(
        parts, tmp_path, "two", bundle="b", classes=("a", "b"), input_spec=spec, checkpoint="0" * 64,
        formats=(kind,), opset=18,
    )["model"]  # fmt: skip
    assert list(written.inputs) == ["second", "second_present", "first"]
    assert list(written.outputs) == ["logits", "vectors"]
    run, _ = OPENERS[kind](written, (tmp_path / f"members/two/model.{SUFFIX[kind]}").read_bytes(), "model", "cpu", 1)
    expected = eager_run(parts["model"])(arrays)
    shuffled = dict(reversed(list(arrays.items())))
    for name, values in run(shuffled).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert abs(expected["logits"][1] - expected["vectors"][1, 0]) < 1e-5


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_altered_after_the_bundle_was_read_is_not_loaded(bundle: Path, kind: Format) -> None:
    read = read_bundle(bundle)
    path = bundle / read.document.members[0].model.files[kind].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(MismatchError, match=path.name):
        open_networks(read, kind)


def test_altered_torchscript_never_reaches_torch(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *given, **_: loaded.append(given))
    read = read_bundle(bundle)
    path = bundle / read.document.members[0].model.files["torchscript"].path
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(MismatchError, match="colour"):
        open_networks(read, "torchscript")
    assert loaded == []


@pytest.mark.parametrize("kind", FORMATS)
def test_the_network_of_another_member_is_refused_though_its_hash_is_right(
    bundle: Path, rewrite: Callable[[Path, Callable[[dict[str, Any]], None]], None], kind: Format
) -> None:
    def edit(document: dict[str, Any]) -> None:
        first, second = document["members"]
        own, other = (member["networks"]["model"]["files"][kind] for member in (first, second))
        path = bundle / own["path"]
        shutil.copyfile(bundle / other["path"], path)
        own |= {"sha256": sha256_file(path), "size": path.stat().st_size}

    rewrite(bundle, edit)
    with pytest.raises(MismatchError, match=r'"member":"ela".*bundle\.json describes .*"member":"colour"'):
        open_networks(read_bundle(bundle), kind)


def test_an_unknown_runtime_is_an_error_with_a_suggestion(exported: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'onnx'"):
        open_networks(read_bundle(exported), "onx")  # type: ignore[arg-type]


def test_a_format_that_the_bundle_lacks_is_an_error_that_says_which_it_has(
    bundle: Path, rewrite: Callable[[Path, Callable[[dict[str, Any]], None]], None]
) -> None:
    rewrite(
        bundle, lambda document: [member["networks"]["model"]["files"].pop("onnx") for member in document["members"]]
    )
    with pytest.raises(SettingsError, match="holds no onnx; it holds torchscript"):
        open_networks(read_bundle(bundle), "onnx")


def test_onnx_without_a_gpu_provider_refuses_a_gpu(exported: Path) -> None:
    with pytest.raises(SettingsError, match="cannot run on 'cuda'"):
        open_networks(read_bundle(exported), "onnx", device="cuda")


def test_loading_warns_of_nothing(exported: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_networks(read_bundle(exported), "torchscript")


def test_the_onnx_runtime_works_where_torch_is_not_installed(exported: Path) -> None:
    program = f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "components", "models"):
                    raise ModuleNotFoundError(name, name=name)

        sys.meta_path.insert(0, Absent())
        from pathlib import Path
        import numpy as np
        from bundle import open_networks, read_bundle
        from bundle.regions.analysis import analyze_picture
        from core.errors import SettingsError

        bundle = read_bundle(Path({str(exported)!r}))
        rgb = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        analyzed = analyze_picture(rgb, bundle.document, open_networks(bundle, "onnx", threads=1))
        assert analyzed.probability.shape == (50, 70)
        try:
            open_networks(bundle, "torchscript")
        except SettingsError as error:
            assert "needs torch" in str(error)
            print("fine")
    """
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_onnx_runtime_reports_to_nobody(exported: Path, tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from bundle import open_networks, read_bundle
        open_networks(read_bundle(Path({str(exported)!r})), "onnx", threads=1)
    """
    root = Path(__file__).resolve().parents[2]
    # Without what else keeps it quiet: CI does, for one.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())  # telemetry begins with an identifier of the machine and of the session


def test_metadata_in_a_torchscript_file_identifies_it_outside_its_bundle(exported: Path) -> None:
    document: Bundle = read_bundle(exported).document
    extra = {"veriframe.json": ""}
    data = io.BytesIO((exported / document.members[1].model.files["torchscript"].path).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(data, _extra_files=extra)
    text = extra["veriframe.json"]
    assert '"member":"ela"' in (text.decode() if isinstance(text, bytes) else text)
