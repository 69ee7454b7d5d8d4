"""Who may import whom, and what no room may ask, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.registry import ROOMS as EXTENDED
from tests.questions import name_of, questions

ROOT = Path(__file__).resolve().parent.parent
# Whom each room may import; arrows run one way.
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "media": {"core"},
    "data": {"core", "media"},
    "bundle": {"core", "media"},
    "models": {"core", "media"},
    "judging": {"core", "media", "data", "models"},
    "tasks": {"core", "media", "data", "bundle", "models", "judging"},
    "components": {"core", "media", "data", "bundle", "models", "judging", "tasks"},
    "pipelines": {"core", "media", "data", "bundle", "models", "judging", "tasks", "components"},
    "serving": {"core", "media", "bundle"},
    "veriframe": {"core", "media", "bundle", "components", "pipelines", "serving"},
}
HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch"}
# Libraries that a room must never import, at any depth of its files.
FORBIDDEN = {
    "core": {"kfp", "albumentations", "cv2"} | HEAVY,
    "media": {"kfp"} | HEAVY,
    "data": {"kfp", "albumentations", "timm"},
    "bundle": {"kfp", "albumentations"} | HEAVY,
    "models": {"kfp", "albumentations"},
    "judging": {"kfp", "albumentations"},
    "tasks": {"kfp", "albumentations"},
    "serving": {"kfp", "albumentations"} | HEAVY,
}
# The one place each of these is allowed although its room may not import it elsewhere.
ALLOWED = {
    ("bundle/runtimes.py", "torch"),  # inside a function: the TorchScript runtime is optional
    ("pipelines/demo/served.py", "serving"),  # starts the server as a process, as its users do
}
# What serves every task: nothing in it may ask which task it is, or be named after one.
FOR_ALL_TASKS = (
    *("core", "judging", "serving", "pipelines", "veriframe"),
    *(f"components/{step}" for step in ("train", "evaluate", "export", "publish", "sweep_hard_negatives")),
)
FOR_ALL_TASKS_FILES = ("bundle/*.py", "tasks/*.py", "models/*.py", "data/*.py")
# Of ``media``: an extraction's section on faces, and the augmentation policies that are called after them.
OF_FACES = {"media/extraction.py", "media/transforms.py"}
MAX_LINES = 400
MAX_DECLARATION_LINES = 40


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> Iterator[str]:
    """Yield what a file imports, each name with the module it is taken from."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in dotted(path)}


def file_of(name: str) -> str | None:
    """Return the file of ours that an imported name comes from: a module, a package, or a name in one."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1):
        module = ROOT.joinpath(*parts[:length])
        for candidate in (module.with_suffix(".py"), module / "__init__.py"):
            if length and candidate.is_file():
                return relative(candidate)
    return None


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


def test_no_files_import_each_other_directly_or_in_a_circle() -> None:
    graph = {
        relative(path): {file for name in dotted(path) if (file := file_of(name)) and file != relative(path)}
        for path in sources(*ROOMS)
    }
    while leaves := {file for file, targets in graph.items() if not targets & graph.keys()}:
        graph = {file: targets for file, targets in graph.items() if file not in leaves}
    # What is left also holds files that only lead into a circle.
    while roots := graph.keys() - {target for targets in graph.values() for target in targets}:
        graph = {file: targets for file, targets in graph.items() if file not in roots}
    assert sorted(graph) == []


def test_extensions_may_add_to_every_room_that_is_found_by_looking() -> None:
    assert set(EXTENDED) == set(ROOMS) - {"veriframe"}


def _serving_all_tasks() -> list[Path]:
    return sources(*FOR_ALL_TASKS) + sorted(path for pattern in FOR_ALL_TASKS_FILES for path in ROOT.glob(pattern))


def test_nothing_that_serves_all_tasks_asks_which_task_or_kind_it_has() -> None:
    checked = set(_serving_all_tasks()) | set(sources("components", "data"))
    wrong = [f"{relative(path)}:{line}" for path in sorted(checked) for line in questions(path)]
    assert wrong == []


def _defined(path: Path) -> Iterator[str]:
    """Yield every name that a file gives to something: functions, classes, arguments, attributes, variables."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield name_of(node)


def test_nothing_that_serves_all_tasks_is_named_after_faces() -> None:
    paths = set(_serving_all_tasks()) | set(sources("components", "data"))
    paths |= {path for path in (ROOT / "media").glob("*.py") if relative(path) not in OF_FACES}
    names = [
        f"{relative(path)}: {name}"
        for path in sorted(paths)
        for name in _defined(path)
        if "face" in name.lower().replace("interface", "").replace("surface", "")
    ]
    files = [relative(path) for path in sorted(paths) if "face" in path.stem.replace("faceforensics", "")]
    assert names + files == []


def test_labels_are_compared_by_the_tasks_alone() -> None:
    wrong = []
    for path in sources("core", "data", "judging", "components", "pipelines", "serving"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Compare) and name_of(node.left) in {"label", "labels"}:
                wrong += [f"{relative(path)}:{node.lineno}" for side in node.comparators if ast.unparse(side) == "1"]
    assert wrong == []


def test_the_server_on_onnx_needs_no_torch() -> None:
    """Every module that the server imports, in a process where torch and what trains cannot be imported."""
    absent = sorted(FORBIDDEN["serving"] | set(ROOMS) - ROOMS["serving"] - {"serving"})
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); import serving.server, onnxruntime, boto3\n"
        "from bundle.task import BUNDLE_TASKS\n"
        "assert [BUNDLE_TASKS.get(name).analyzer for name in BUNDLE_TASKS.names()]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_publication_needs_neither_torch_nor_scikit_learn() -> None:
    """What runs in the extractor's image, and every task's declaration with what reads its figures."""
    absent = sorted(HEAVY | {"sklearn", "scipy", "albumentations", "onnx", "onnxruntime"})
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import components.publish.publish, components.extract_frames.extract\n"
        "from tasks.task import TASKS\n"
        "assert [TASKS.get(name).release_figures.resolve() for name in TASKS.names()]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_only_declarations_import_kfp_in_components() -> None:
    wrong = [relative(p) for p in sources("components") if "kfp" in imported(p) and p.name != "component.py"]
    assert wrong == []


def test_only_one_module_imports_albumentations() -> None:
    users = [relative(path) for path in sources(*ROOMS) if "albumentations" in imported(path)]
    assert users == ["media/transforms.py"]


def test_declarations_are_short() -> None:
    long = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("components")
        if path.name == "component.py" and len(path.read_text(encoding="utf-8").splitlines()) > MAX_DECLARATION_LINES
    }
    assert long == {}


def test_every_step_has_function_command_line_component_and_page() -> None:
    steps = [path.parent for path in (ROOT / "components").glob("*/component.py")]
    expected = {"extract_frames", "train", "sweep_hard_negatives", "evaluate", "export", "publish"}
    assert {step.name for step in steps} >= expected
    lacking = [
        f"{step.name}/{file}" for step in steps for file in ("__main__.py", "README.md") if not (step / file).exists()
    ]
    assert lacking == []


def test_files_stay_readable() -> None:
    long = {
        relative(path): lines
        for path in sources(*ROOMS, "bench", "tests", "images", "manifests")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_names_are_the_fields() -> None:
    """Words that say nothing in this field, as names of functions, arguments and variables."""
    banned = {"said", "told", "wanted", "here", "say", "_say", "_explain", "_told"}
    wrong = set()
    for path in sources(*ROOMS):
        for node in ast.walk(tree(path)):
            name = getattr(node, "name", None) or getattr(node, "arg", None) or getattr(node, "id", None)
            if isinstance(name, str) and name in banned:
                wrong.add(f"{relative(path)}:{getattr(node, 'lineno', 0)} {name}")
    assert wrong == set()


def test_weights_are_loaded_without_running_code() -> None:
    wrong = []
    for path in sources(*ROOMS, "bench", "tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                wrong += [] if safe else [f"{relative(path)}:{node.lineno}"]
    assert wrong == []
