"""What pipelines find in their namespace: the same names as in their compiled tasks."""

from pathlib import Path
from typing import Any

import yaml

from pipelines.resources import S3_VARIABLES, ClusterSettings

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
Objects = dict[str, dict[str, Any]]


def test_the_launcher_reads_the_keys_that_the_tasks_read(rendered: dict[str, Objects]) -> None:
    launcher = rendered["pipelines"]["ConfigMap"]
    assert launcher["metadata"]["name"] == "kfp-launcher"  # the name that KFP looks for, without a hash
    s3 = yaml.safe_load(launcher["data"]["providers"])["s3"]["default"]
    secret = s3["credentials"]["secretRef"]
    cluster = ClusterSettings()
    assert secret["secretName"] == cluster.s3_secret
    assert S3_VARIABLES[secret["accessKeyKey"]] == "AWS_ACCESS_KEY_ID"
    assert S3_VARIABLES[secret["secretKeyKey"]] == "AWS_SECRET_ACCESS_KEY"
    assert s3["region"] == cluster.region
    assert s3["credentials"]["fromEnv"] is False
    assert launcher["data"]["defaultPipelineRoot"].startswith("s3://")


def test_the_claim_is_the_one_that_tasks_mount(rendered: dict[str, Objects]) -> None:
    claim = rendered["pipelines"]["PersistentVolumeClaim"]
    assert claim["metadata"]["name"] == ClusterSettings().cache_claim
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_server_reads_the_same_secret(container: dict[str, Any]) -> None:
    read = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"]
        for variable in container["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    name = ClusterSettings().s3_secret
    assert read == {variable: {"name": name, "key": key, "optional": True} for key, variable in S3_VARIABLES.items()}


def test_the_example_secret_has_the_keys_and_no_real_one() -> None:
    example = yaml.safe_load((MANIFESTS / "s3-secret.example.yaml").read_text(encoding="utf-8"))
    assert example["metadata"]["name"] == ClusterSettings().s3_secret
    assert set(example["stringData"]) == set(S3_VARIABLES)
    assert all(value.startswith("YOUR-") for value in example["stringData"].values())


def test_no_secret_is_rendered(rendered: dict[str, Objects]) -> None:
    assert {name for name, objects in rendered.items() if "Secret" in objects} == set()
