import io
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bundle import Bundle, Format, open_runtime, read_bundle
from core.errors import MismatchError, SettingsError
from core.files import sha256_file

FORMATS: list[Format] = ["torchscript", "onnx"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_a_runtime_says_what_the_network_says_at_any_batch_size(
    exported: Path, networks: dict[str, torch.nn.Module], kind: Format, batch: int
) -> None:
    bundle = read_bundle(exported)
    runs = open_runtime(bundle, kind)
    for member in bundle.document.members:
        size = member.input.size
        pixels = np.random.default_rng(batch).integers(
            0, 256, (batch, member.input.channels, size, size), dtype=np.uint8
        )
        logits = runs[member.name](pixels)
        with torch.inference_mode():
            expected = networks[member.name](torch.from_numpy(pixels)).numpy()
        assert logits.dtype == np.float32
        assert logits.shape == (batch, 1, size, size)
        np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_altered_after_the_bundle_was_read_is_not_loaded(bundle: Path, kind: Format) -> None:
    read = read_bundle(bundle)
    path = bundle / read.document.members[0].files[kind].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(MismatchError, match=path.name):
        open_runtime(read, kind)


def test_altered_torchscript_never_reaches_torch(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *given, **_: loaded.append(given))
    read = read_bundle(bundle)
    path = bundle / read.document.members[0].files["torchscript"].path
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(MismatchError, match="colour"):
        open_runtime(read, "torchscript")
    assert loaded == []


@pytest.mark.parametrize("kind", FORMATS)
def test_the_network_of_another_member_is_refused_though_its_hash_is_right(
    bundle: Path, rewrite: Callable[[Path, Callable[[dict[str, Any]], None]], None], kind: Format
) -> None:
    def edit(document: dict[str, Any]) -> None:
        first, second = document["members"]
        path = bundle / first["files"][kind]["path"]
        shutil.copyfile(bundle / second["files"][kind]["path"], path)
        first["files"][kind] |= {"sha256": sha256_file(path), "size": path.stat().st_size}

    rewrite(bundle, edit)
    with pytest.raises(MismatchError, match=r'"member":"ela".*bundle\.json says .*"member":"colour"'):
        open_runtime(read_bundle(bundle), kind)


def test_an_unknown_runtime_is_an_error_with_a_suggestion(exported: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'onnx'"):
        open_runtime(read_bundle(exported), "onx")  # type: ignore[arg-type]


def test_a_format_that_the_bundle_lacks_is_an_error_that_says_which_it_has(
    bundle: Path, rewrite: Callable[[Path, Callable[[dict[str, Any]], None]], None]
) -> None:
    rewrite(bundle, lambda document: [member["files"].pop("onnx") for member in document["members"]])
    with pytest.raises(SettingsError, match="holds no onnx; it holds torchscript"):
        open_runtime(read_bundle(bundle), "onnx")


def test_onnx_without_a_gpu_provider_refuses_a_gpu(exported: Path) -> None:
    with pytest.raises(SettingsError, match="cannot run on 'cuda'"):
        open_runtime(read_bundle(exported), "onnx", device="cuda")


def test_loading_warns_of_nothing(exported: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_runtime(read_bundle(exported), "torchscript")


def test_the_onnx_runtime_judges_where_torch_is_not_installed(exported: Path) -> None:
    program = f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "components", "models"):
                    raise ModuleNotFoundError(name, name=name)

        sys.meta_path.insert(0, Absent())
        from pathlib import Path
        import numpy as np
        from bundle import judge_picture, open_runtime, read_bundle
        from core.errors import SettingsError

        bundle = read_bundle(Path({str(exported)!r}))
        rgb = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        judged = judge_picture(rgb, bundle.document, open_runtime(bundle, "onnx", threads=1))
        assert judged.probability.shape == (50, 70)
        try:
            open_runtime(bundle, "torchscript")
        except SettingsError as error:
            assert "needs torch" in str(error)
            print("fine")
    """
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_onnx_runtime_reports_to_nobody(exported: Path, tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from bundle import open_runtime, read_bundle
        open_runtime(read_bundle(Path({str(exported)!r})), "onnx", threads=1)
    """
    root = Path(__file__).resolve().parents[3]
    # Without what else keeps it quiet: CI does, for one.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())  # telemetry begins with an identifier of the machine and of the session


def test_metadata_in_a_torchscript_file_identifies_it_outside_its_bundle(exported: Path) -> None:
    document: Bundle = read_bundle(exported).document
    extra = {"veriframe.json": ""}
    data = io.BytesIO((exported / document.members[1].files["torchscript"].path).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(data, _extra_files=extra)
    text = extra["veriframe.json"]
    assert '"member":"ela"' in (text.decode() if isinstance(text, bytes) else text)
