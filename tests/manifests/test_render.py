"""``python -m manifests`` for a build of the images and a bundle."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.errors import SettingsError
from manifests import __main__ as command

BUNDLE = "s3://bucket/releases/forgery/2.0.0"
DIGEST = "sha256:" + "a1" * 32


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as deep as build/, beside a link to the manifests, so that a build of the developer's is not touched."""
    (tmp_path / "manifests").symlink_to(command.HERE)
    monkeypatch.setattr(command, "BUILD", tmp_path / "build")
    for name in ("VERIFRAME_REGISTRY", "VERIFRAME_IMAGE_TAG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "build" / "manifests"


def objects(path: Path) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


def image(path: Path) -> str:
    return str(objects(path)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("0123456789ab", ":0123456789ab"), ("1e5", ":1e5"), (DIGEST, "@" + DIGEST)],
)
def test_registry_and_build_are_in_the_image(tag: str, expected: str) -> None:
    assert image(command.render("cpu", BUNDLE, "registry.example:5000/team", tag)) == (
        "registry.example:5000/team/veriframe-serving-cpu" + expected
    )
    assert image(command.render("gpu", BUNDLE, "", tag)) == "veriframe-serving" + expected


def test_what_is_rendered_is_complete_and_valid(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--overlay", "cpu", "--bundle", BUNDLE, "--tag", "abc", "--endpoint", "http://s3.store:8333"]
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(elsewhere / "cpu.yaml")
    found = objects(elsewhere / "cpu.yaml")
    assert found["ConfigMap"]["data"]["VERIFRAME_SERVING_BUNDLE"] == BUNDLE
    assert found["ConfigMap"]["data"]["AWS_ENDPOINT_URL"] == "http://s3.store:8333"
    assert found["ConfigMap"]["data"]["VERIFRAME_SERVING_RUNTIME"] == "onnx"  # the overlay's own stays
    for document in found.values():
        kubernetes_validate.validate(document, "1.37.0", strict=True)


def test_another_bundle_is_another_config_map() -> None:
    names = {
        objects(command.render("cpu", bundle, "", "abc"))["ConfigMap"]["metadata"]["name"]
        for bundle in (BUNDLE, BUNDLE + "1")
    }
    assert len(names) == 2


def test_the_tag_is_the_commit_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFRAME_IMAGE_TAG", "from-environment")
    assert image(command.render("cpu", BUNDLE)).endswith(":from-environment")


@pytest.mark.parametrize(
    ("bundle", "tag", "message"),
    [("", "abc", "must begin with s3://"), ("build/bundle", "abc", "must begin with s3://"), (BUNDLE, "latest", "SHA")],
)
def test_what_cannot_be_deployed_is_refused(
    bundle: str, tag: str, message: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--bundle", bundle, "--tag", tag]) == 1
    assert message in capsys.readouterr().err
    assert not elsewhere.exists()


def test_a_broken_kustomization_is_refused_in_kubectl_s_words(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n")
    with pytest.raises(SettingsError, match=r"absent\.yaml"):
        command.build(tmp_path)
