"""Runs inside an image, as root to see everything, and prints what is there as one line of JSON."""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

MODULES = ("torch", "kfp", "kubernetes", "onnxruntime", "fastapi", "albumentations", "av", "pip", "uv", "pytest")
TOOLS = ("pip", "pip3", "uv", "gcc", "cc", "make", "git", "curl", "wget", "debootstrap")
APT = ("/var/lib/apt/lists", "/var/cache/apt")
LEFT = (".whl", ".deb", "pip.conf")
NOT_THE_IMAGE = ("/proc", "/sys", "/dev")
USER = 65532


def blob(path: Path) -> str:
    """Git's name of a file's content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def belongs_to_the_user(status: os.stat_result) -> bool:
    """Whether the image's user may write there."""
    mode = status.st_mode
    return bool(mode & 0o002 or status.st_uid == USER or (status.st_gid == USER and mode & 0o020))


def walk() -> tuple[list[str], list[str]]:
    """Directories that the image's user may write into, and what a build may have left behind."""
    writable, left = [], []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if not str(Path(folder, name)).startswith(NOT_THE_IMAGE)]
        if belongs_to_the_user(Path(folder).stat()):
            writable.append(folder)
        inside = set(Path(folder).parts) & {".cache", ".git", "secrets"}
        left += [f"{folder}/{name}" for name in files if inside or name.endswith(LEFT)]
    return writable, left


writable, left = walk()
sources = [path for path in Path("/app").rglob("*") if path.is_file() and path.suffix != ".pyc"]
print(
    json.dumps(
        {
            "python": shutil.which("python3"),
            "version": list(sys.version_info[:2]),
            "modules": [name for name in MODULES if importlib.util.find_spec(name)],
            "tools": [name for name in TOOLS if shutil.which(name)],
            "apt": [str(path) for place in APT for path in Path(place).rglob("*") if path.is_file()],
            "writable": writable,
            "left": left,
            "sources": {str(path.relative_to("/app")): blob(path) for path in sources},
        }
    )
)
