"""How many processors this process may use: fewer than the machine has, in a container that is given a share of it."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OPENMP_VARIABLE = "OMP_NUM_THREADS"  # read by OpenMP, and by OpenBLAS and MKL where their own are not set

_ROOT = Path("/")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def processors(root: Path = _ROOT) -> int:
    """Return the number of processors this process may use, at least 1.

    That is the smallest of its affinity and of the quotas of its control groups, from its own up to the one that this
    container shows as the outermost; version 1 (``cpu.cfs_quota_us`` / ``cpu.cfs_period_us``) and version 2
    (``cpu.max``). A fraction of a processor counts as one: 1.5 are 2, lest a part of what is granted lie idle.

    Args:
        root: where ``proc/self`` and the mounted control groups are found.
    """
    quotas = (math.ceil(quota) for quota in _quotas(root))
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def openmp_variables(processes: int = 1) -> dict[str, str]:
    """Return the environment of each of ``processes`` children that load numpy or torch and share the processors.

    OpenMP itself sees a process's affinity, and no quota. An ``OMP_NUM_THREADS`` that is set already is taken for what
    all of them together may use.
    """
    given = re.match(r"\s*([1-9]\d*)", os.environ.get(OPENMP_VARIABLE, ""))
    threads = int(given[1]) if given else processors()
    return {OPENMP_VARIABLE: str(max(1, threads // processes))}


def _quotas(root: Path) -> Iterator[float]:
    """Yield the processors of every control group above this process that sets a quota."""
    for controllers, group in _memberships(root):
        for version, shown, mounted in _mounts(root, controllers):
            outermost = root / mounted.lstrip("/")
            # Without a namespace of its own, a container's group has a name that is not to be seen inside of it.
            below = Path(group).relative_to(shown) if Path(group).is_relative_to(shown) else Path()
            for folder in [outermost / below, *(outermost / parent for parent in below.parents)]:
                quota = _quota(folder) if version == 1 else _quota_of_version_2(folder)
                if quota is not None:
                    yield quota


def _memberships(root: Path) -> list[tuple[str, str]]:
    """Return the groups of this process that may have a quota: controllers ("" in version 2), and path."""
    fields = (line.split(":", 2) for line in _lines(root / "proc/self/cgroup"))
    found = [(parts[1], parts[2]) for parts in fields if len(parts) == 3]
    return [(controllers, path) for controllers, path in found if not controllers or "cpu" in controllers.split(",")]


def _mounts(root: Path, controllers: str) -> Iterator[tuple[int, str, str]]:
    """Yield where a hierarchy is mounted: its version, the path of the group that is shown there, and the folder."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        fields, (name, *_, options) = mount.split(" "), kind.split(" ") or [""]
        version_2 = name == "cgroup2"
        if version_2 if not controllers else name == "cgroup" and "cpu" in options.split(","):
            yield 2 if version_2 else 1, _unescaped(fields[3]), _unescaped(fields[4])


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), path)


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 and period > 0 else None
    return None


def _quota_of_version_2(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        quota, period = (int(number) for number in (folder / "cpu.max").read_text().split())  # "max": none is set
        return quota / period if quota > 0 and period > 0 else None
    return None
