"""What a cluster is asked for, read from the compiled YAML: local runs ignore all of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import SettingsError
from pipelines import references
from pipelines.__main__ import main
from pipelines.finding import pipeline_folders, recipe_names
from pipelines.graph import arguments, compile_pipeline
from pipelines.resolution import load_pipeline

GPU_STEPS = ("exec-train", "exec-sweep-hard-negatives", "exec-evaluate", "exec-export")
Document = dict[str, Any]


TINY_FACES = Path(__file__).with_name("tiny_faces.yaml")


def compiled_pipeline(folder: Path, name: str, recipe: str | None = None) -> tuple[Document, Document]:
    """The graph, and what is asked of Kubernetes by executor."""
    path = compile_pipeline(load_pipeline(name, recipe), folder / f"{name}.yaml", registry="r.example/v", tag="abc")
    pipeline, platforms = yaml.safe_load_all(path.read_text())
    return pipeline, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document]:
    return compiled_pipeline(tmp_path_factory.mktemp("yaml"), "forgery")


@pytest.fixture(scope="module")
def deepfake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document]:
    return compiled_pipeline(tmp_path_factory.mktemp("yaml"), "deepfake")


def executors(pipeline: Document, prefix: str = "exec-") -> dict[str, Document]:
    found = pipeline["deploymentSpec"]["executors"]
    return {name: executor["container"] for name, executor in found.items() if name.startswith(prefix)}


def tasks(pipeline: Document) -> dict[str, Document]:
    """All tasks by name; one of the whole graph hides one of the same name in a part of it."""
    found: dict[str, Document] = {}
    for component in pipeline["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found | pipeline["root"]["dag"]["tasks"]


def test_the_graph_has_every_step_once_a_stage(compiled: tuple[Document, Document]) -> None:
    named = {name for name in tasks(compiled[0]) if not name.startswith("members")}
    assert named >= {
        "extract-frames", "train", "sweep-hard-negatives", "train-2", "export", "evaluate", "publish"
    }  # fmt: skip
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks(compiled[0]).items()}
    assert after["train-2"] == {"sweep-hard-negatives", "train"}
    assert "export" in after["evaluate"]
    assert {"evaluate", "export"} <= after["publish"]


def labels(pipeline: Document) -> dict[str, str]:
    """The names that a person sees, by task."""
    return {name: task["taskInfo"]["name"] for name, task in tasks(pipeline).items()}


def test_tasks_are_called_by_data_set_and_stage(
    compiled: tuple[Document, Document], deepfake: tuple[Document, Document]
) -> None:
    assert {"extract-pictures", "train-v3", "sweep-before-v4", "train-v4"} <= set(labels(compiled[0]).values())
    assert {"extract-dfdc", "train-faceforensics", "train-celebdf", "train-dfdc"} <= set(labels(deepfake[0]).values())


def test_every_stage_follows_the_one_before_and_no_extraction_waits_for_another(
    deepfake: tuple[Document, Document],
) -> None:
    found = tasks(deepfake[0])
    assert "train" in found["train-2"]["dependentTasks"]
    assert "train-2" in found["train-3"]["dependentTasks"]
    assert not any(name.startswith("sweep") for name in found)
    waiting = {name: task.get("dependentTasks", []) for name, task in found.items() if name.startswith("extract-frame")}
    assert sorted(waiting.values()) == [[], [], ["extract-shares-dfdc"]]


def test_shares_are_extracted_before_the_call_that_joins_them(deepfake: tuple[Document, Document]) -> None:
    found = tasks(deepfake[0])
    (joins,) = [name for name, task in found.items() if "extract-shares-dfdc" in task.get("dependentTasks", [])]
    assert found[joins]["taskInfo"]["name"] == "extract-dfdc"
    inside = deepfake[0]["components"]["comp-extract-shares-dfdc"]["dag"]["tasks"].values()
    (loop,) = (task for task in inside if "parameterIterator" in task)
    assert yaml.safe_load(loop["parameterIterator"]["items"]["raw"]) == list(range(8))


def test_all_data_sets_and_all_stages_reach_the_evaluation(deepfake: tuple[Document, Document]) -> None:
    found = tasks(deepfake[0])
    inputs = found["evaluate"]["inputs"]
    names = labels(deepfake[0])
    decisive = inputs["artifacts"]["dataset"]["taskOutputArtifact"]["producerTask"]
    assert names[decisive] == "extract-dfdc"
    others = [
        names[one["taskOutputParameter"]["producerTask"]]
        for one in inputs["parameters"].values()
        if "taskOutputParameter" in one
    ]
    assert sorted(others) == ["extract-celebdf", "extract-faceforensics"]
    assert inputs["artifacts"]["models"] == found["export"]["inputs"]["artifacts"]["models"]
    kept = {
        names[name]: task["inputs"]["parameters"]["models"]["runtimeValue"]["constant"]
        for name, task in found.items()
        if name.startswith("train")
    }
    assert kept["train-dfdc"] == ""  # goes to the evaluation as an artifact
    assert kept["train-faceforensics"].endswith("/models")


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


def test_the_other_pipeline_is_placed_alike(deepfake: tuple[Document, Document]) -> None:
    pipeline, platform = deepfake
    containers = executors(pipeline)
    assert containers.keys() == platform.keys()
    for name, container in containers.items():
        light = name.startswith(("exec-extract", "exec-publish"))
        assert container["image"] == f"r.example/v/veriframe-{'extractor' if light else 'trainer'}:abc"
        assert ("accelerator" in container["resources"]) != light
        assert int(platform[name]["activeDeadlineSeconds"]) > 0
        assert platform[name]["secretAsEnv"]


def test_caching_is_off_only_where_something_outside_may_change(compiled: tuple[Document, Document]) -> None:
    cached = {
        name: task.get("cachingOptions", {}).get("enableCache", False) for name, task in tasks(compiled[0]).items()
    }
    assert {name for name, on in cached.items() if not on and not name.startswith(("members", "for-loop"))} == {
        "extract-frames",
        "evaluate",
        "publish",
    }


def test_images_are_pinned_and_the_light_steps_use_the_light_image(compiled: tuple[Document, Document]) -> None:
    used = {name: container["image"] for name, container in executors(compiled[0]).items()}
    assert set(used.values()) == {"r.example/v/veriframe-trainer:abc", "r.example/v/veriframe-extractor:abc"}
    light = {name for name, image in used.items() if "extractor" in image}
    assert light == {"exec-extract-frames", "exec-publish"}


def test_processes_of_the_training_recipe_decide_the_number_of_gpus(tmp_path: Path) -> None:
    pipeline = load_pipeline("forgery", overrides=["train.processes=2"])
    output = compile_pipeline(pipeline, tmp_path / "out.yaml", tag="abc")
    containers = executors(next(yaml.safe_load_all(output.read_text())), "exec-train")
    assert {container["resources"]["accelerator"]["count"] for container in containers.values()} == {"2"}


def test_every_extraction_keeps_its_progress_in_the_store(deepfake: tuple[Document, Document]) -> None:
    """A task and the shares before it agree on the place and on the number of parts."""
    found: dict[str, list[tuple[str, int]]] = {}
    graphs = [deepfake[0]["root"], *deepfake[0]["components"].values()]
    for task in (task for graph in graphs for task in graph.get("dag", {}).get("tasks", {}).values()):
        if task["componentRef"]["name"].startswith("comp-extract-frames"):
            given = task["inputs"]["parameters"]
            chunks, parts = (given[name]["runtimeValue"]["constant"] for name in ("chunks", "parts"))
            found.setdefault(chunks.rpartition("/chunks/")[2], []).append((chunks, parts))
    pipeline = load_pipeline("deepfake")
    assert found.keys() == pipeline.recipe.used_datasets.keys()
    for name, dataset in pipeline.recipe.used_datasets.items():
        assert {parts for _, parts in found[name]} == {dataset.parts}
    assert any(len(given) > 1 for given in found.values())


@pytest.mark.parametrize(("cpu", "threads"), [("4", "4"), ("1.5", "2"), ("2500m", "3"), ("200m", "1")])
def test_openmp_is_told_the_processors_of_a_task(tmp_path: Path, cpu: str, threads: str) -> None:
    pipeline = load_pipeline("forgery", overrides=[f"resources.extract.cpu={cpu!r}"])
    output = compile_pipeline(pipeline, tmp_path / "out.yaml", tag="abc")
    (container,) = executors(next(yaml.safe_load_all(output.read_text())), "exec-extract").values()
    assert {"name": "OMP_NUM_THREADS", "value": threads} in container["env"]


NUMBER = 12


def long_pipeline(folder: Path, name: str, recipe: Document) -> Document:
    """The graph of a recipe with twelve data sets in place of its own, and a stage on each of them."""
    recipe["datasets"] = {f"d{number}": {"source": f"d{number}"} for number in range(NUMBER)}
    recipe["stages"] = {f"s{number}": {"dataset": f"d{number}"} for number in range(NUMBER)}
    if "sweep" in recipe:
        for stage in list(recipe["stages"].values())[1:]:
            stage["sweep"] = {}
    path = folder / "long.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return compiled_pipeline(folder, name, str(path))[0]


@pytest.fixture(scope="module", params=["forgery", "deepfake"])
def long(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """All data sets are evaluated; of photographs there is a sweep before every stage but the first."""
    path = Path(__file__).with_name("tiny.yaml") if request.param == "forgery" else TINY_FACES
    return long_pipeline(tmp_path_factory.mktemp("long"), request.param, yaml.safe_load(path.read_text()))


def test_any_number_of_stages_is_one_graph(long: Document) -> None:
    found, names = tasks(long), labels(long)
    assert sum(name.startswith("extract-frames") for name in found) == NUMBER
    assert [f"train-s{number}" in names.values() for number in range(NUMBER)] == [True] * NUMBER
    sweeps = NUMBER - 1 if long["pipelineInfo"]["name"] == "forgery" else 0
    assert sum(name.startswith("sweep") for name in found) == sweeps
    by_label = {label: found[name] for name, label in names.items()}
    for number in range(1, NUMBER):
        base = by_label[f"train-s{number}"]["inputs"]["artifacts"]["base"]["taskOutputArtifact"]["producerTask"]
        assert names[base] == f"train-s{number - 1}"


def test_parts_of_a_sweep_are_done_before_the_task_that_joins_them(tmp_path: Path) -> None:
    recipe = yaml.safe_load(Path(__file__).with_name("tiny.yaml").read_text())
    recipe["sweep"]["parts"] = 5
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump(recipe))
    pipeline, platforms = compiled_pipeline(tmp_path, "forgery", str(path))
    dags = [component["dag"]["tasks"].values() for component in pipeline["components"].values() if "dag" in component]
    (joins,) = (task for dag in dags for task in dag if task["taskInfo"]["name"] == "sweep-before-v4")
    assert {"sweep-parts-v4", "train"} <= set(joins["dependentTasks"])
    inside = pipeline["components"]["comp-sweep-parts-v4"]["dag"]["tasks"].values()
    (loop,) = (task for task in inside if "parameterIterator" in task)
    assert yaml.safe_load(loop["parameterIterator"]["items"]["raw"]) == list(range(5))
    asked = [place for name, place in platforms.items() if name.startswith("exec-sweep")]
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_any_number_of_data_sets_is_evaluated_by_one_task(long: Document) -> None:
    found, names = tasks(long), labels(long)
    evaluate = next(found[name] for name, label in names.items() if label == "evaluate")
    assert names[evaluate["inputs"]["artifacts"]["dataset"]["taskOutputArtifact"]["producerTask"]] == "extract-d11"
    others = evaluate["inputs"]["parameters"]["others"]["runtimeValue"]["constant"]
    channels = [part.partition("pipelinechannel--")[2].partition("-index")[0] for part in others.split(",")]
    assert [names[channel] for channel in channels] == [f"extract-d{number}" for number in range(NUMBER - 1)]


def test_a_task_is_given_as_many_artifacts_as_ever(long: Document) -> None:
    """What a task fetches does not grow with stages and data sets, but for what the evaluation reads by address."""
    found = tasks(long)
    artifacts = {name: len(task.get("inputs", {}).get("artifacts", {})) for name, task in found.items()}
    assert max(count for name, count in artifacts.items() if not name.startswith(("for-loop", "members"))) == 3


def test_parameters_follow_from_the_recipe() -> None:
    pipeline = load_pipeline("deepfake", str(TINY_FACES)).choose(["genconvit_lite"])
    given = arguments(pipeline)
    assert [member["name"] for member in given["members"]] == ["genconvit_lite"]
    assert set(given["members"][0]) == {"name", "recipe_one", "recipe_two"}
    assert '"name":"tiny-faces"' in given["export_recipe"]
    assert '"degradations"' in given["evaluate_recipe"]


def test_two_processes_compile_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        command = [sys.executable, "-m", "pipelines", "compile", "--tag", "abc", "--output", str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=Path(references.__file__).parents[1], capture_output=True)
    written = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert set(written) == {f"{name}.yaml" for name in pipeline_folders()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}


def test_no_secret_and_no_path_of_the_machine_gets_into_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-any-file")
    text = compile_pipeline(load_pipeline("forgery"), tmp_path / "out.yaml", tag="abc").read_text()
    assert "not-for-any-file" not in text
    assert str(Path(references.__file__).parents[1]) not in text


def test_pods_with_a_role_of_their_own_need_no_secret(tmp_path: Path) -> None:
    pipeline = load_pipeline("forgery", overrides=["cluster.s3_secret=''", "cluster.cache_gib=8"])
    output = compile_pipeline(pipeline, tmp_path / "out.yaml", tag="abc")
    document, platforms = yaml.safe_load_all(output.read_text())
    assert [
        name
        for name, pod in platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items()
        if "secretAsEnv" in pod
    ] == []
    for container in executors(document).values():
        assert {"name": "VERIFRAME_CACHE_GIB", "value": "8"} in container["env"]


def test_a_tag_that_moves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFRAME_IMAGE_TAG", "latest")
    with pytest.raises(SettingsError, match="latest names no fixed build"):
        references.reference("veriframe-trainer")


def test_a_digest_is_joined_as_a_digest() -> None:
    assert (
        references.reference("veriframe-trainer", "r.example", "sha256:00") == "r.example/veriframe-trainer@sha256:00"
    )


def test_an_unknown_pipeline_is_an_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "forgry", "--tag", "abc"]) == 1
    assert "Did you mean 'forgery'?" in capsys.readouterr().err


def test_the_command_line_lists_the_recipes_of_all_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in recipe_names())
