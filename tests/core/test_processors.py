"""Processors by affinity and by quotas of control groups, which are played by folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.processors import openmp_variables, processors

V1 = "40 31 0:29 {shown} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,{controllers}\n"
V2 = "30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n41 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def tree(root: Path, groups: str, mounts: str, **quotas: tuple[str, ...]) -> Path:
    """Lay a root out; ``quotas`` are, by group ("_" for "/"), the content of cpu.max, or of quota and period."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(OTHER + mounts)
    for group, values in quotas.items():
        version_2 = len(values) == 1
        folder = root / "sys/fs/cgroup" / ("" if version_2 else "cpu") / group.strip("_").replace("_", "/")
        folder.mkdir(parents=True, exist_ok=True)
        names = ("cpu.max",) if version_2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        for name, value in zip(names, values, strict=True):
            (folder / name).write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("400000 100000", 4),
        ("150000 100000", 2),  # a fraction counts as one
        ("1000 100000", 1),
        ("max 100000", 16),
        ("6400000 100000", 16),  # more than the affinity
        ("", 16),
        ("not a number", 16),
        ("100000 0", 16),
    ],
)
def test_quota_of_version_2(tmp_path: Path, content: str, expected: int) -> None:
    assert processors(tree(tmp_path, "0::/\n", V2.format(shown="/"), _=(content,))) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"), [("200000", "100000", 2), ("50000", "100000", 1), ("-1", "100000", 16)]
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_quota_of_version_1(tmp_path: Path, controllers: str, quota: str, period: str, expected: int) -> None:
    mounts = V1.format(shown="/", controllers=controllers)
    root = tree(tmp_path, f"5:cpuset:/\n3:{controllers}:/\n0::/\n", mounts, _=(quota, period))
    assert processors(root) == expected


def test_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    quotas = {"pods_one": ("max 100000",), "pods": ("300000 100000",), "_": ("800000 100000",)}
    assert processors(tree(tmp_path, "0::/pods/one\n", V2.format(shown="/"), **quotas)) == 3


def test_group_of_a_container_is_that_at_the_mount_point(tmp_path: Path) -> None:
    mounts = V1.format(shown="/docker/a1b2", controllers="cpu,cpuacct")
    inside = tree(tmp_path / "a", "3:cpu,cpuacct:/docker/a1b2\n", mounts, _=("200000", "100000"))
    assert processors(inside) == 2
    below = {"_": ("700000", "100000"), "step": ("300000", "100000")}
    assert processors(tree(tmp_path / "b", "3:cpu,cpuacct:/docker/a1b2/step\n", mounts, **below)) == 3
    moved = tree(tmp_path / "c", "3:cpu,cpuacct:/elsewhere\n", mounts, _=("500000", "100000"))
    assert processors(moved) == 5


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    root = tree(tmp_path, "3:cpu:/\n0::/\n", V1.format(shown="/", controllers="cpu"), _=("400000", "100000"))
    unified = V2.format(shown="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    (root / "proc/self/mountinfo").write_text(unified + V1.format(shown="/", controllers="cpu"))
    assert processors(root) == 4


def test_without_control_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processors(tmp_path) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert processors(tmp_path) == 2
    assert processors() >= 1  # this machine's own


def test_affinity_of_a_real_process() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import core.processors as p"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(p.processors())"], capture_output=True, check=True)
    assert done.stdout.split() == [b"1"]


def test_processes_share_what_openmp_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("core.processors.processors", lambda: 6)
    assert openmp_variables() == {"OMP_NUM_THREADS": "6"}
    assert openmp_variables(4) == {"OMP_NUM_THREADS": "1"}
    assert openmp_variables(9) == {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("given", "one", "two"), [("4", "4", "2"), ("8,2", "8", "4"), ("1", "1", "1"), ("unclear", "6", "3")]
)
def test_what_the_user_set_for_openmp_stays(monkeypatch: pytest.MonkeyPatch, given: str, one: str, two: str) -> None:
    monkeypatch.setattr("core.processors.processors", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert openmp_variables() == {"OMP_NUM_THREADS": one}
    assert openmp_variables(2) == {"OMP_NUM_THREADS": two}
