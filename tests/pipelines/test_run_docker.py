"""The same small run with every step in a container of the images that `make images` built."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from kfp.local import docker_task_handler

from bundle import fetch_release, read_pointer
from components.images import EXTRACTOR, TRAINER
from core.storage import join, open_store
from pipelines import containers
from pipelines.__main__ import main
from pipelines.demo.logs import task_folders

pytestmark = pytest.mark.docker

RECIPE = Path(__file__).with_name("tiny.yaml")
STEPS = ["extract-frames", "train", "sweep-hard-negatives", "train-2", "export", "evaluate", "publish"]
FAILURES = 8  # KFP by itself loses each with a chance of about a third


@pytest.fixture
def images(image: Callable[[str], str]) -> dict[str, str]:
    """The references of the images of steps."""
    return {name: image(name) for name in (EXTRACTOR, TRAINER)}


@pytest.mark.s3
def test_the_pipeline_runs_in_containers_on_s3(
    images: dict[str, str], bucket: str, uploaded: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = join(bucket, "store")
    command = ["run", "forgery", "--runner", "docker", "--recipe", str(RECIPE), "--members", "high_recall"]
    assert main([*command, "--source", uploaded, "--store", store, "--workspace", str(tmp_path)]) == 0

    (artifacts,) = (tmp_path / "artifacts").iterdir()
    folders = task_folders(artifacts)
    assert [folder.name for folder in folders] == STEPS
    owners = {path.stat().st_uid for folder in folders for path in folder.rglob("*")}
    assert owners == {os.getuid() or containers.IMAGE_USER}  # never root

    keys = [info.key for info in open_store(store).list()]
    assert any(key.startswith("shards/") and key.endswith(".tar") for key in keys)
    assert sum(key.endswith("/finished.json") for key in keys) == 2
    pointer = read_pointer(store, "tiny")
    assert pointer is not None
    bundle = fetch_release(store, "tiny", tmp_path / "bundle")
    assert bundle.sha256 == pointer[0].bundle_sha256
    assert [member.name for member in bundle.document.members] == ["high_recall"]


def test_a_step_that_fails_in_its_container_ends_the_run(
    images: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    command = ["run", "forgery", "--runner", "docker", "--recipe", str(RECIPE), "--source", str(tmp_path / "empty")]
    assert main([*command, "--workspace", str(tmp_path / "run")]) == 1
    output = capfd.readouterr()
    assert "error: pipeline forgery stopped" in output.err
    assert "does not exist or holds nothing" in output.out + output.err


def test_no_failure_of_a_container_is_taken_for_success(engine: docker.DockerClient, images: dict[str, str]) -> None:
    with containers.exit_statuses():
        statuses = [
            docker_task_handler.run_docker_container(engine, images[EXTRACTOR], ["sh", "-c", "exit 3"], {})
            for _ in range(FAILURES)
        ]
    assert statuses == [3] * FAILURES


@pytest.fixture(params=["as it is", "of a user"])
def caller(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a run, of whoever runs the tests and of an ordinary user."""
    if request.param == "of a user":
        if os.getuid():
            pytest.skip("only root can hand folders to another user")
        for name in ("workspace", "workspace/artifacts", "workspace/cache", "workspace/store"):
            (tmp_path / name).mkdir()
            os.chown(tmp_path / name, 12345, 12345)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        monkeypatch.setattr(os, "getgid", lambda: 12345)
    yield tmp_path / "workspace"


def test_steps_read_the_source_and_write_the_store_as_the_caller(
    engine: docker.DockerClient,
    images: dict[str, str],
    caller: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/of/this/machine")
    monkeypatch.setenv("HOSTS_OWN", "something")
    source = tmp_path / "source"
    source.mkdir()
    (source / "picture").write_text("pixels")
    source.chmod(0o755)
    store = caller / "store"
    runner = containers.runner(caller / "artifacts", str(source), f"file://{store}", caller / "cache")
    script = (
        f"cat {source}/picture; touch {store}/shard $VERIFRAME_CACHE/shard; ! touch {source}/new 2> /dev/null;"
        " echo $AWS_ACCESS_KEY_ID $AWS_CONFIG_FILE $HOSTS_OWN; grep CapBnd /proc/self/status"
    )
    arguments: dict[str, Any] = runner.container_run_args
    printed = engine.containers.run(images[EXTRACTOR], ["sh", "-ec", script], remove=True, **arguments).decode().split()
    assert printed == ["pixelsthe-key", "CapBnd:", "0" * 16]
    owner = os.getuid() or containers.IMAGE_USER
    assert [path.stat().st_uid for path in (store / "shard", caller / "cache/shard")] == [owner, owner]


def test_missing_images_are_named_with_what_makes_them(
    engine: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFRAME_IMAGE_TAG", "never-built")
    monkeypatch.delenv("VERIFRAME_REGISTRY", raising=False)
    with pytest.raises(containers.ContainersError, match=r"no image veriframe-extractor:never-built: `make images`"):
        containers.runner(tmp_path / "artifacts", "s3://b/pictures", "s3://b/store", tmp_path / "cache")


def test_an_engine_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(containers.ContainersError, match="no Docker engine answers"):
        containers.runner(tmp_path / "artifacts", "s3://b/pictures", "s3://b/store", tmp_path / "cache")
