"""The command line that builds images: what it builds from, and what it says when it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.images import ALL
from images.build import main
from images.client import DockerError, docker_client

REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_unknown_image_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["veriframe-trainers"]) == 1
    printed = capsys.readouterr().err
    assert "veriframe-trainers" in printed
    assert all(name in printed for name in ALL)


def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--ca-bundle", str(tmp_path / "ca.pem")]) == 1
    assert f"error: {tmp_path / 'ca.pem'} is not a file" in capsys.readouterr().err


def test_a_digest_is_no_tag_to_build_under(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VERIFRAME_IMAGE_TAG", f"sha256:{'0' * 64}")
    assert main([]) == 1
    assert "not under a digest" in capsys.readouterr().err


def test_images_are_built_from_the_commit_and_not_from_what_lies_around(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", REPOSITORY, tmp_path / "clone"], check=True)
    clone = tmp_path / "clone"
    changed = clone / "core/errors.py"
    committed = changed.read_text()
    changed.write_text(f"{committed}\n# not committed\n")
    (clone / "media/new.py").write_text("")
    script = """
from images.build import committed_source
with committed_source() as source:
    print(source.revision, source.tag)
    print((source.folder / "core/errors.py").read_text().count("# not committed"))
    print((source.folder / "media/new.py").exists(), (source.folder / "tests").exists())
"""
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert printed == [f"{head} {head[:12]}", "0", "False False"]


def client(path: Path, help_text: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{help_text}'\n")
    path.chmod(0o755)
    return path


def test_a_client_without_buildkit_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = client(tmp_path / "docker", "Options: --build-arg --tag")
    monkeypatch.setenv("DOCKER", str(old))
    with pytest.raises(DockerError, match=f"no Docker client with BuildKit \\(tried {old}\\)"):
        docker_client()


def test_the_first_client_with_buildkit_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    able = client(tmp_path / "docker", "Options: --build-arg --secret --tag")
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert docker_client() == str(able)
