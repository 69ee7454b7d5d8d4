"""Who may import whom, read from the source itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Whom each room may import; arrows run one way.
ROOMS = {
    "core": set(),
    "media": {"core"},
    "data": {"core", "media"},
    "bundle": {"core", "media"},
    "models": {"core", "media"},
    "judging": {"core", "media", "data", "models", "bundle"},
    "components": {"core", "media", "data", "bundle", "models", "judging"},
    "pipelines": {"core", "media", "data", "bundle", "models", "judging", "components"},
    "serving": {"core", "media", "bundle"},
}
PACKAGES = tuple(ROOMS)
HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch"}
# Libraries that a room must never import, at any depth of its files.
FORBIDDEN = {
    "core": {"kfp", "albumentations", "cv2"} | HEAVY,
    "media": {"kfp"} | HEAVY,
    "data": {"kfp", "albumentations", "timm"},
    "bundle": {"kfp", "albumentations"} | HEAVY,
    "models": {"kfp", "albumentations"},
    "judging": {"kfp", "albumentations"},
    "serving": {"kfp", "albumentations"} | HEAVY,
}
# The one place each of these is allowed although its room may not import it elsewhere.
ALLOWED = {
    ("bundle/runtimes.py", "torch"),  # inside a function: the TorchScript runtime is optional
    ("pipelines/demo/served.py", "serving"),  # starts the server as a process, as its users do
}
MAX_LINES = 400
MAX_DECLARATION_LINES = 40


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_what_it_must_not(room: str) -> None:
    others = set(ROOMS) - ROOMS[room] - {room}
    wrong = {
        (relative(path), name)
        for path in sources(room)
        for name in imported(path) & (others | FORBIDDEN.get(room, set()))
        if (relative(path), name) not in ALLOWED
    }
    assert wrong == set()


def test_the_server_on_onnx_needs_no_torch() -> None:
    """Every module that the server imports, in a process where torch and what trains cannot be imported."""
    absent = sorted(FORBIDDEN["serving"] | set(ROOMS) - ROOMS["serving"] - {"serving"})
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import serving.server, onnxruntime, boto3"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_only_declarations_import_kfp_in_components() -> None:
    wrong = [relative(p) for p in sources("components") if "kfp" in imported(p) and p.name != "component.py"]
    assert wrong == []


def test_only_one_module_imports_albumentations() -> None:
    users = [relative(path) for path in sources(*PACKAGES) if "albumentations" in imported(path)]
    assert users == ["media/transforms.py"]


def test_declarations_are_short() -> None:
    long = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("components")
        if path.name == "component.py" and len(path.read_text(encoding="utf-8").splitlines()) > MAX_DECLARATION_LINES
    }
    assert long == {}


def test_every_step_has_function_command_line_and_component() -> None:
    steps = [path.parent for path in (ROOT / "components").glob("*/component.py")]
    assert {step.name for step in steps} == {
        "extract_frames",
        "train",
        "sweep_hard_negatives",
        "evaluate",
        "export",
        "publish",
    }
    assert [step.name for step in steps if not (step / "__main__.py").exists()] == []


def test_files_stay_readable() -> None:
    long = {
        relative(path): lines
        for path in sources(*PACKAGES, "bench", "tests")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_weights_are_loaded_without_running_code() -> None:
    wrong = []
    for path in sources(*PACKAGES, "bench", "tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                wrong += [] if safe else [f"{relative(path)}:{node.lineno}"]
    assert wrong == []
