"""What a cluster is asked for, read from the compiled YAML: local runs ignore all of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import SettingsError
from pipelines import images
from pipelines.__main__ import main
from pipelines.graphs import compile_pipeline

GPU_STEPS = ("exec-train", "exec-sweep-hard-negatives", "exec-evaluate", "exec-export")
Document = dict[str, Any]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document]:
    path = compile_pipeline(
        "forgery", tmp_path_factory.mktemp("yaml") / "forgery.yaml", registry="r.example/v", tag="abc"
    )
    pipeline, platforms = yaml.safe_load_all(path.read_text())
    return pipeline, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def executors(pipeline: Document, prefix: str = "exec-") -> dict[str, Document]:
    found = pipeline["deploymentSpec"]["executors"]
    return {name: executor["container"] for name, executor in found.items() if name.startswith(prefix)}


def tasks(pipeline: Document) -> dict[str, Document]:
    found: dict[str, Document] = dict(pipeline["root"]["dag"]["tasks"])
    for component in pipeline["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found


def test_the_graph_has_every_step_once_a_generation(compiled: tuple[Document, Document]) -> None:
    named = {name for name in tasks(compiled[0]) if not name.startswith("members")}
    assert named >= {
        "extract-frames", "train", "sweep-hard-negatives", "train-2", "evaluate", "export", "publish"
    }  # fmt: skip
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks(compiled[0]).items()}
    assert after["train-2"] == {"sweep-hard-negatives", "train"}
    assert {"evaluate", "export"} <= after["publish"]


@pytest.mark.parametrize("step", GPU_STEPS)
def test_every_gpu_task_asks_for_what_it_needs(compiled: tuple[Document, Document], step: str) -> None:
    pipeline, platform = compiled
    containers = executors(pipeline, step)
    assert containers
    for name, container in containers.items():
        resources = container["resources"]
        assert resources["accelerator"] == {
            "type": "nvidia.com/gpu", "count": "1", "resourceType": "nvidia.com/gpu", "resourceCount": "1"
        }  # fmt: skip
        assert {"cpuLimit", "memoryLimit", "cpuRequest", "memoryRequest"} <= resources.keys()
        pod = platform[name]
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        assert pod["nodeSelector"]["labels"]
        memory = {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "8Gi"}
        assert pod["emptyDirMounts"] == [memory]


def test_every_task_has_time_limit_retry_credentials_from_a_secret_and_the_cache_volume(
    compiled: tuple[Document, Document],
) -> None:
    pipeline, platform = compiled
    assert executors(pipeline).keys() == platform.keys()
    for name, pod in platform.items():
        assert int(pod["activeDeadlineSeconds"]) > 0, name
        (secret,) = pod["secretAsEnv"]
        assert secret["secretName"] == "veriframe-s3"
        assert {key["envVar"] for key in secret["keyToEnv"]} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert [mount["mountPath"] for mount in pod["pvcMount"]] == ["/cache"]
    steps = [task for task in tasks(pipeline).values() if "iteratorPolicy" not in task]
    assert steps
    assert all(task["retryPolicy"]["maxRetryCount"] >= 1 for task in steps)


def test_caching_is_off_only_where_something_outside_may_change(compiled: tuple[Document, Document]) -> None:
    cached = {
        name: task.get("cachingOptions", {}).get("enableCache", False) for name, task in tasks(compiled[0]).items()
    }
    assert {name for name, on in cached.items() if not on and not name.startswith(("members", "for-loop"))} == {
        "extract-frames",
        "publish",
    }


def test_images_are_pinned_and_the_light_steps_use_the_light_image(compiled: tuple[Document, Document]) -> None:
    used = {name: container["image"] for name, container in executors(compiled[0]).items()}
    assert set(used.values()) == {"r.example/v/veriframe-trainer:abc", "r.example/v/veriframe-extractor:abc"}
    light = {name for name, image in used.items() if "extractor" in image}
    assert light == {"exec-extract-frames", "exec-publish"}


def test_processes_of_the_training_recipe_decide_the_number_of_gpus(tmp_path: Path) -> None:
    shipped = Path(images.__file__).parent / "recipes/forgery/published.yaml"
    recipe = tmp_path / "two.yaml"
    recipe.write_text(shipped.read_text().replace("batch_size: 4", "batch_size: 4\n  processes: 2"))
    output = compile_pipeline("forgery", tmp_path / "out.yaml", str(recipe), tag="abc")
    containers = executors(next(yaml.safe_load_all(output.read_text())), "exec-train")
    assert {container["resources"]["accelerator"]["count"] for container in containers.values()} == {"2"}


def test_two_processes_compile_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        command = [sys.executable, "-m", "pipelines", "compile", "--tag", "abc", "--output", str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=Path(images.__file__).parents[1], capture_output=True)
    assert (tmp_path / "a/forgery.yaml").read_bytes() == (tmp_path / "b/forgery.yaml").read_bytes()


def test_no_secret_and_no_path_of_the_machine_gets_into_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-any-file")
    text = compile_pipeline("forgery", tmp_path / "out.yaml", tag="abc").read_text()
    assert "not-for-any-file" not in text
    assert str(Path(images.__file__).parents[1]) not in text


def test_a_tag_that_moves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFRAME_IMAGE_TAG", "latest")
    with pytest.raises(SettingsError, match="latest names no fixed build"):
        images.reference("veriframe-trainer")


def test_a_digest_is_joined_as_a_digest() -> None:
    assert images.reference("veriframe-trainer", "r.example", "sha256:00") == "r.example/veriframe-trainer@sha256:00"


def test_an_unknown_pipeline_is_an_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "forgry", "--tag", "abc"]) == 1
    assert "Did you mean 'forgery'?" in capsys.readouterr().err
