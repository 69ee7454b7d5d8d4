import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from bench.seaweed import SeaweedServer
from bundle import BUNDLE_FILE, Pointer, fetch_release, read_bundle, read_pointer
from bundle.releases import evaluation_uri
from components.publish import publish as step
from components.publish.__main__ import main
from components.publish.publish import DECISION_FILE, Decision, RefusedError, publish
from components.publish.recipe import PublishRecipe
from core.errors import BadInputError, MismatchError, SettingsError, StorageError
from core.storage import Store, open_store
from core.storage.s3 import S3Store

Make = Callable[..., Path]
RECIPE = PublishRecipe(gate={"min_f1": 0.3, "max_authentic_fpr": 0.1, "robustness_floor": 0.5, "margin": 0.05})

pytestmark = pytest.mark.s3


@pytest.fixture
def root(bucket: str) -> str:
    return f"{bucket}/veriframe"


def keys(root: str) -> list[str]:
    return [info.key for info in open_store(root).list()]


def current(root: str) -> Pointer:
    found = read_pointer(root, "forgery")
    assert found is not None
    return found[0]


def release(
    bundle: Path, make_evaluation: Make, root: str, output: Path, recipe: PublishRecipe = RECIPE, **figures: Any
) -> Decision:
    """Publish a bundle with an evaluation of it."""
    return publish(bundle, make_evaluation(bundle, **figures), root, output, recipe)


def test_a_release_lies_under_its_version_and_the_pointer_names_it(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle = make_bundle("1")
    decision = release(bundle, make_evaluation, root, tmp_path / "out", RECIPE)
    evaluated = current(root).evaluation_sha256[:16]
    assert decision.decision == "released"
    assert keys(root) == sorted(
        [
            "releases/forgery/1/bundle.json",
            "releases/forgery/1/card.md",
            *(f"releases/forgery/1/evaluations/{evaluated}/{name}" for name in ("figures.md", "metrics.json")),
            *(f"releases/forgery/1/members/{name}/model.{end}" for name in "ab" for end in ("onnx", "ts")),
            "releases/forgery/current.json",
        ]
    )
    pointer = current(root)
    assert (pointer.name, pointer.version, pointer.previous) == ("forgery", "1", None)
    assert pointer.bundle_sha256 == read_bundle(bundle).sha256 == decision.bundle_sha256
    assert pointer.figures.task == "regions" and pointer.figures.values["robustness"] == pytest.approx(0.45 / 0.6)
    assert json.loads((tmp_path / "out" / DECISION_FILE).read_text())["decision"] == "released"
    assert fetch_release(root, "forgery", tmp_path / "fetched").sha256 == pointer.bundle_sha256


def test_a_later_release_names_the_one_before(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    for version in ("1", "2"):
        release(make_bundle(version), make_evaluation, root, tmp_path / version, RECIPE)
    assert (current(root).version, current(root).previous) == ("2", "1")


def test_publishing_the_same_again_changes_nothing(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE)
    before = [(info.key, info.etag, info.modified) for info in open_store(root).list()]
    assert release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE).decision == "current"
    assert [(info.key, info.etag, info.modified) for info in open_store(root).list()] == before


def test_a_version_never_changes(root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path) -> None:
    release(make_bundle("1", seed=0), make_evaluation, root, tmp_path / "out", RECIPE)
    before = [(info.key, info.etag) for info in open_store(root).list()]
    with pytest.raises(MismatchError, match=r"releases/forgery/1 holds another bundle"):
        release(make_bundle("1", seed=1), make_evaluation, root, tmp_path / "out", RECIPE)
    assert [(info.key, info.etag) for info in open_store(root).list()] == before


def test_a_refused_release_uploads_nothing_and_says_by_which_figures(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    figures = {"f1": 0.2, "authentic_fpr": 0.3, "degraded": {"jpeg50": 0.01}}
    with pytest.raises(RefusedError) as caught:
        release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE, **figures)
    assert str(caught.value).splitlines() == [
        "forgery 1 is not released:",
        "  f1 is 0.2, must be at least 0.3 (min_f1)",
        "  authentic_fpr is 0.3, must be at most 0.1 (max_authentic_fpr)",
        "  robustness is 0.05, must be at least 0.5 (robustness_floor)",
    ]
    assert keys(root) == []
    decision = json.loads((tmp_path / "out" / DECISION_FILE).read_text())
    assert decision["decision"] == "refused"
    assert [check["figure"] for check in decision["checks"] if not check["passed"]] == [
        "f1",
        "authentic_fpr",
        "robustness",
    ]


def test_a_refused_release_leaves_the_pointer_where_it_was(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    release(make_bundle("1"), make_evaluation, root, tmp_path / "out", RECIPE, f1=0.8)
    before = read_pointer(root, "forgery")
    recipe = RECIPE.model_copy(update={"on_refusal": "record"})
    decision = release(make_bundle("2"), make_evaluation, root, tmp_path / "out", recipe, f1=0.7)
    assert decision.decision == "refused"
    assert [str(check) for check in decision.failed] == [
        "f1 is 0.7, must be at least 0.75 (current release 1, margin 0.05)"
    ]
    assert read_pointer(root, "forgery") == before
    assert not any(key.startswith("releases/forgery/2") for key in keys(root))


def test_an_evaluation_without_degradations_does_not_pass_a_floor(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match="robustness was not measured"):
        release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE, degraded={})


def test_a_gate_of_another_task_is_refused(make_bundle: Make, make_evaluation: Make, tmp_path: Path) -> None:
    recipe = PublishRecipe(gate={"min_auc": 0.9})
    with pytest.raises(SettingsError, match=r"min_auc = 0\.9: unknown key; allowed: .*min_f1"):
        release(make_bundle(), make_evaluation, str(tmp_path / "store"), tmp_path / "out", recipe)


def test_an_evaluation_of_another_bundle_is_refused(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle, other = make_bundle("1"), make_bundle("2")
    hashes = [read_bundle(path).sha256 for path in (other, bundle)]
    with pytest.raises(MismatchError, match=f"sha256 {hashes[0]}, .* has {hashes[1]}; evaluate the bundle"):
        publish(bundle, make_evaluation(other), root, tmp_path / "out", RECIPE)
    assert keys(root) == []


def test_an_evaluation_of_trained_models_alone_is_refused(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle = make_bundle()
    evaluation = make_evaluation(bundle)
    metrics = json.loads((evaluation / "metrics.json").read_text())
    (evaluation / "metrics.json").write_text(json.dumps(metrics | {"bundle": None}))
    with pytest.raises(MismatchError, match="of trained models alone; evaluate the bundle: --bundle"):
        publish(bundle, evaluation, root, tmp_path / "out", RECIPE)


def test_what_was_measured_lies_beside_the_release(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle = make_bundle()
    evaluation = make_evaluation(bundle)
    publish(bundle, evaluation, root, tmp_path / "out", RECIPE)
    beside = open_store(evaluation_uri(root, "forgery", "1", current(root).evaluation_sha256))
    for name in ("metrics.json", "figures.md"):
        assert beside.read(name) == (evaluation / name).read_bytes()
    assert fetch_release(root, "forgery", tmp_path / "fetched").sha256 == read_bundle(bundle).sha256


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b'{"task": "regions", "bundle": {}, "groups": {}}', b'{"groups": []}']
)
def test_what_is_no_evaluation_is_refused(root: str, make_bundle: Make, tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    if content is not None:
        (folder / "metrics.json").write_bytes(content)
    with pytest.raises((BadInputError, SettingsError)):
        publish(make_bundle(), folder, root, tmp_path / "out", RECIPE)


def test_a_bundle_altered_by_one_byte_is_not_published(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle = make_bundle()
    path = bundle / "members" / "b" / "model.ts"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(MismatchError, match=r"members/b/model\.ts"):
        release(bundle, make_evaluation, root, tmp_path / "out", RECIPE)
    assert keys(root) == []


def test_what_is_read_back_altered_does_not_become_current(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(make_bundle("1"), make_evaluation, root, tmp_path / "out", RECIPE)
    upload = S3Store.upload

    def tampered(store: S3Store, path: Path, key: str, **options: Any) -> None:
        upload(store, path, key, **options)
        if key.endswith("b/model.onnx"):
            store.write(key, b"\0" + path.read_bytes()[1:])

    monkeypatch.setattr(S3Store, "upload", tampered)
    with pytest.raises(MismatchError, match=r"releases/forgery/2/members/b/model\.onnx"):
        release(make_bundle("2"), make_evaluation, root, tmp_path / "out", RECIPE)
    assert current(root).version == "1"


def test_an_upload_that_was_cut_off_is_completed_by_the_next(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = S3Store.upload

    def cut_off(store: S3Store, path: Path, key: str, **options: Any) -> None:
        if key.endswith("b/model.ts"):
            raise StorageError("the line went dead")
        upload(store, path, key, **options)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "upload", cut_off)
        with pytest.raises(StorageError, match="the line went dead"):
            release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE)
    assert read_pointer(root, "forgery") is None
    assert release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE).decision == "released"
    fetch_release(root, "forgery", tmp_path / "fetched")


def test_publishers_at_the_same_time_all_succeed_and_their_pointers_form_a_chain(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    versions = ["1", "2", "3"]
    bundles = {version: make_bundle(version) for version in versions}
    evaluations = {version: make_evaluation(bundle) for version, bundle in bundles.items()}
    together = Barrier(len(versions))

    def run(version: str) -> str | None:
        together.wait()
        return publish(bundles[version], evaluations[version], root, tmp_path / version, RECIPE).previous

    with ThreadPoolExecutor(len(versions)) as pool:
        previous = dict(zip(versions, pool.map(run, versions), strict=True))
    # Each replaced another one, and none was lost: following `previous` from the current one meets all three.
    version: str | None = current(root).version
    met = []
    while version is not None:
        met.append(version)
        version = previous[version]
    assert sorted(met) == versions


def test_publishers_of_one_bundle_at_the_same_time_agree(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    bundle, together = make_bundle(), Barrier(3)
    evaluation = make_evaluation(bundle)

    def run(number: int) -> str:
        together.wait()
        return publish(bundle, evaluation, root, tmp_path / str(number), RECIPE).decision

    with ThreadPoolExecutor(3) as pool:
        decisions = sorted(pool.map(run, range(3)))
    assert decisions == ["current", "current", "released"]
    assert current(root).previous is None


def test_who_loses_the_race_is_checked_against_the_winner(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = step._move
    bundle = make_bundle("better")
    better = bundle, make_evaluation(bundle, f1=0.9)

    def late(store: Store, pointer: Pointer, etag: str | None) -> bool:
        if pointer.version == "worse":
            monkeypatch.setattr(step, "_move", move)
            publish(*better, root, tmp_path / "better", RECIPE)
        return move(store, pointer, etag)

    monkeypatch.setattr(step, "_move", late)
    with pytest.raises(RefusedError, match=r"f1 is 0\.6, must be at least 0\.85 \(current release better"):
        release(make_bundle("worse"), make_evaluation, root, tmp_path / "worse", RECIPE, f1=0.6)
    assert current(root).version == "better"


def test_a_pointer_that_never_stands_still_is_given_up_on(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_move", lambda *_: False)
    with pytest.raises(StorageError, match="5 times in a row; publish again"):
        release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE)


def test_keys_that_may_not_write_give_an_error_and_publish_nothing(
    seaweed: SeaweedServer,
    root: str,
    make_bundle: Make,
    make_evaluation: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        for name, value in seaweed.reader_environment.items():
            patch.setenv(name, value)
        with pytest.raises(StorageError, match="AccessDenied") as caught:
            release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE)
    assert seaweed.reader_environment["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert f"{root}/releases/forgery/1/{BUNDLE_FILE}" in str(caught.value)
    assert keys(root) == []


def test_a_folder_is_a_store_too(make_bundle: Make, make_evaluation: Make, tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    release(make_bundle(), make_evaluation, root, tmp_path / "out", RECIPE)
    assert fetch_release(root, "forgery", tmp_path / "fetched").document.version == "1"


def test_the_command_line_ends_with_an_error_when_refused(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("gate: {min_f1: 0.5}\n")

    def arguments(f1: float) -> list[str]:
        bundle = make_bundle()
        places = {"bundle": bundle, "evaluation": make_evaluation(bundle, f1=f1, degraded={"noise": f1})}
        given = [f"--{name}={value}" for name, value in places.items()]
        return [*given, f"--store={root}", f"--output={tmp_path / 'out'}", f"--recipe={recipe}"]

    assert main(arguments(0.4)) == 1
    assert "f1 is 0.4, must be at least 0.5 (min_f1)" in capsys.readouterr().err
    assert main(arguments(0.6)) == 0
    assert capsys.readouterr().out.startswith("forgery 1: released")


def test_publication_needs_no_torch() -> None:
    program = """
import sys
heavy = ("torch", "scipy", "sklearn", "onnx", "onnxruntime", "models")
sys.modules.update(dict.fromkeys(heavy))  # None makes an import fail
import components.publish.component, components.publish.publish
from tasks.task import TASKS
for name in TASKS.names():
    TASKS.get(name).release_figures.resolve()
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
