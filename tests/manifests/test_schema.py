"""Rendered manifests against the schemas of the Kubernetes API; an unknown field is an error."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
KINDS = {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
EXAMPLE = Path(__file__).resolve().parents[2] / "manifests" / "s3-secret.example.yaml"


def refusal(document: dict[str, Any], version: str) -> str:
    """What the schema of a version says against a document; empty when nothing."""
    try:
        used = kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    assert version.startswith(used + ".")  # and not the nearest version that the package knows
    return ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["overlays/cpu", "overlays/gpu", "pipelines"])
def test_everything_rendered_fits_the_schema(name: str, version: str, rendered: dict[str, Any]) -> None:
    refused = {kind: refusal(document, version) for kind, document in rendered[name].items()}
    assert refused == dict.fromkeys(refused, "")
    assert set(refused) == ({"ConfigMap", "PersistentVolumeClaim"} if name == "pipelines" else KINDS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_example_of_a_secret_fits_the_schema(version: str) -> None:
    assert refusal(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), version) == ""


# A field of each kind, by the path to what holds it.
HOLDERS = {
    "ConfigMap": (),
    "Deployment": ("spec", "template", "spec", "containers", 0, "securityContext"),
    "NetworkPolicy": ("spec", "egress", 0),
    "PodDisruptionBudget": ("spec",),
    "Service": ("spec", "ports", 0),
    "ServiceAccount": (),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", sorted(HOLDERS))
def test_a_misspelt_field_is_refused(kind: str, version: str, overlay: dict[str, Any]) -> None:
    wrong = copy.deepcopy(overlay[kind])
    holder: Any = wrong
    for step in HOLDERS[kind]:
        holder = holder[step]
    holder["readOnlyRootFileSystem"] = True  # a capital S
    assert "readOnlyRootFileSystem" in refusal(wrong, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_of_the_wrong_type_is_refused(version: str, overlay: dict[str, Any]) -> None:
    wrong = copy.deepcopy(overlay["Deployment"])
    wrong["spec"]["replicas"] = "two"
    assert "'two'" in refusal(wrong, version)
