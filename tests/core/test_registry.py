"""Objects that are found by looking: those of the project, and of folders beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.lazy import Lazy
from core.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


def make_package(folder: Path, name: str, **modules: str) -> None:
    """Write a package of modules, each of which exposes a text as ``THING``; a name in capitals makes a folder."""
    (folder / name).mkdir(parents=True)
    for module, text in modules.items():
        path = folder / name / (f"{module.lower()}/__init__.py" if module.isupper() else f"{module}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"THING = {text!r}\n", encoding="utf-8")


def run(program: str, *path: Path, extensions: str = "") -> str:
    """Return what a program prints in a fresh process."""
    environment = os.environ | {
        "VERIFRAME_EXTENSIONS": extensions,
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path])),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_folders_and_files_are_told_apart_and_none_is_imported_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path, "things_a", one="first", TWO="second")
    (tmp_path / "things_a/__init__.py").touch()
    (tmp_path / "things_a/broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    files: Registry[str] = Registry("things_a", "THING", "thing", folders=False)
    folders: Registry[str] = Registry("things_a", "THING", "thing", folders=True)
    assert files.names() == ["broken", "one"]
    assert folders.names() == ["two"]
    assert files.get("one") == "first"
    assert folders.get("two") == "second"
    with pytest.raises(SettingsError, match=r"unknown thing 'onne'\. Did you mean 'one'"):
        files.get("onne")
    with pytest.raises(SettingsError, match=r"unknown thing 'one'\. Known: two"):
        folders.get("one")


def test_extensions_add_to_a_package_that_is_installed(tmp_path: Path) -> None:
    make_package(tmp_path / "project", "things_b", one="own")
    (tmp_path / "project/things_b/__init__.py").touch()
    make_package(tmp_path / "first", "things_b", other="another", one="never seen")
    make_package(tmp_path / "second", "things_b", third="a third")
    (tmp_path / "neither").mkdir()
    extensions = os.pathsep.join(str(tmp_path / name) for name in ("first", "neither", "second", "absent"))
    program = (
        "from core.registry import Registry\n"
        "things = Registry('things_b', 'THING', 'thing', folders=False)\n"
        "print(things.names(), [things.get(name) for name in things.names()])\n"
    )
    with_extensions = run(program, tmp_path / "project", extensions=extensions)
    assert with_extensions == "['one', 'other', 'third'] ['own', 'another', 'a third']"
    assert run(program, tmp_path / "project") == "['one'] ['own']"


def test_an_extension_extends_the_rooms_of_this_project_alone(tmp_path: Path) -> None:
    """Folders that are called as modules and packages of Python are, or of installed libraries, change none of them."""
    make_package(tmp_path / "extension/media", "views", shade="a view of its own")
    for name in ("code", "json", "numpy"):
        make_package(tmp_path / "extension", name, mine="never seen")
    program = (
        "import json\n"
        "from core.registry import Registry\n"
        "before = list(json.__path__)\n"
        "print(Registry('media.views', 'THING', 'view', folders=False).get('shade'), before == list(json.__path__))\n"
    )
    assert run(program, extensions=str(tmp_path / "extension")) == "a view of its own True"


def test_names_may_have_dashes_where_modules_have_underscores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "things_c", two_words="found")
    (tmp_path / "things_c/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    things: Registry[str] = Registry("things_c", "THING", "thing", folders=False, dashes=True)
    assert things.names() == ["two-words"]
    assert things.get("two-words") == "found"
    with pytest.raises(SettingsError, match="two-words"):
        things.get("two_words")


def test_what_is_lazy_is_imported_when_it_is_called() -> None:
    program = (
        "import sys\n"
        "from core.lazy import Lazy\n"
        "shape = Lazy('colorsys:rgb_to_hsv')\n"
        "print('colorsys' in sys.modules, shape(1, 1, 1), 'colorsys' in sys.modules)\n"
    )
    assert run(program) == "False (0.0, 0.0, 1) True"


def test_a_lazy_reference_says_what_it_names() -> None:
    reference = Lazy("json:loads")
    assert reference("[1]") == [1]
    assert reference.resolve()("2") == 2
    assert repr(reference) == "Lazy('json:loads')"
    with pytest.raises(AttributeError, match="nothing"):
        Lazy("json:nothing")()
    with pytest.raises(ModuleNotFoundError):
        Lazy("no_such_module:name").resolve()
