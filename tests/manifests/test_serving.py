"""The two overlays against the server they start: its settings, its routes, its images."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.__main__ import build
from pipelines.resources import ClusterSettings
from serving.app import create_app
from serving.service import Service
from serving.settings import PREFIX, ServerSettings, read_settings

ROOT = Path(__file__).resolve().parents[2]
Objects = dict[str, dict[str, Any]]
Container = dict[str, Any]
BUNDLE = {PREFIX + "BUNDLE": "s3://bucket/releases/forgery/current.json"}
READ_BY_BOTO3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
PIXEL_BYTES = 30  # of memory at the peak; 28 were measured
BASE_BYTES = 3 * 2**30  # libraries, networks and a forward pass


@pytest.fixture
def settings(overlay: Objects) -> ServerSettings:
    """What the server makes of the overlay's ConfigMap."""
    return read_settings([], overlay["ConfigMap"]["data"] | BUNDLE)


@pytest.fixture
def routes(settings: ServerSettings) -> Iterator[set[str]]:
    """The paths in the server's OpenAPI document."""
    service = Service(settings)
    yield set(create_app(service).openapi()["paths"])
    service.close()


def test_every_variable_is_one_that_the_server_or_boto3_reads(overlay: Objects, container: Container) -> None:
    names = set(overlay["ConfigMap"]["data"]) | {variable["name"] for variable in container["env"]}
    assert names <= READ_BY_BOTO3 | {PREFIX + name.upper() for name in ServerSettings.model_fields}


def test_each_overlay_has_its_runtime_device_and_image(rendered: dict[str, Objects]) -> None:
    found = {}
    for name in ("cpu", "gpu"):
        objects = rendered[f"overlays/{name}"]
        given = read_settings([], objects["ConfigMap"]["data"] | BUNDLE)
        image = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
        found[name] = (given.runtime, given.device, image.partition(":")[0])
    assert found == {
        "cpu": ("onnx", "cpu", "veriframe-serving-cpu"),
        "gpu": ("torchscript", "cuda", "veriframe-serving"),
    }


def test_the_user_is_that_of_the_images(pod: dict[str, Any]) -> None:
    users = set(re.findall(r"^USER (\d+):(\d+)$", (ROOT / "images" / "Dockerfile").read_text(), re.MULTILINE))
    context = pod["securityContext"]
    assert users == {(str(context["runAsUser"]), str(context["runAsGroup"]))}


def test_nothing_is_tagged_latest(container: Container) -> None:
    _, separator, tag = container["image"].partition(":")
    assert separator
    assert tag != "latest"


def test_a_changed_setting_rolls_the_pods(overlay: Objects, container: Container) -> None:
    (source,) = container["envFrom"]
    assert source == {"configMapRef": {"name": overlay["ConfigMap"]["metadata"]["name"]}}
    assert re.fullmatch(r"veriframe-serving-[a-z0-9]{10}", overlay["ConfigMap"]["metadata"]["name"])
    assert overlay["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_no_service_link_can_stand_in_for_a_setting(overlay: Objects, pod: dict[str, Any]) -> None:
    link = overlay["Service"]["metadata"]["name"].upper().replace("-", "_") + "_PORT"
    assert link == PREFIX + "PORT"  # what Kubernetes would set, and why it must not
    assert pod["enableServiceLinks"] is False


def test_the_probes_ask_routes_that_the_server_has(container: Container, routes: set[str]) -> None:
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"/v2/health/live", "/v2/health/ready"}
    assert asked <= routes


def test_prometheus_is_told_a_route_that_the_server_has(
    overlay: Objects, settings: ServerSettings, routes: set[str]
) -> None:
    annotations = overlay["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == str(settings.port)
    assert annotations["prometheus.io/path"] in routes


def test_every_port_is_the_one_the_server_listens_on(
    overlay: Objects, container: Container, settings: ServerSettings
) -> None:
    (port,) = container["ports"]
    assert port["containerPort"] == settings.port
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        port["name"]
    }
    assert [one["targetPort"] for one in overlay["Service"]["spec"]["ports"]] == [port["name"]]
    (ingress,) = overlay["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"port": settings.port, "protocol": "TCP"}]


def test_the_startup_probe_outlasts_the_loading_of_a_bundle(
    overlay: Objects, container: Container, settings: ServerSettings
) -> None:
    probe = container["startupProbe"]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience > settings.load_timeout
    assert overlay["Deployment"]["spec"]["progressDeadlineSeconds"] > patience


def test_the_grace_period_outlasts_everything_accepted(pod: dict[str, Any], settings: ServerSettings) -> None:
    slowest = settings.drain_delay + settings.body_timeout + max(settings.timeout, settings.video_timeout)
    assert pod["terminationGracePeriodSeconds"] > slowest


def test_readiness_is_noticed_within_twice_the_drain_delay(container: Container, settings: ServerSettings) -> None:
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= 2 * settings.drain_delay


def test_the_volumes_fit_the_storage_that_is_asked_for(
    pod: dict[str, Any], container: Container, settings: ServerSettings, quantity: Callable[[str], float]
) -> None:
    sizes = {volume["name"]: quantity(volume["emptyDir"]["sizeLimit"]) for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert settings.cache in mounts
    assert set(mounts.values()) == set(sizes)
    assert quantity(container["resources"]["limits"]["ephemeral-storage"]) > sum(sizes.values())
    assert sizes[mounts["/tmp"]] > settings.open_video_bytes + settings.max_video_bytes


def test_the_memory_holds_what_may_be_open(
    container: Container, settings: ServerSettings, quantity: Callable[[str], float]
) -> None:
    pictures = settings.open_pixels * PIXEL_BYTES + settings.open_bytes
    assert quantity(container["resources"]["limits"]["memory"]) > pictures + BASE_BYTES


def test_requests_and_limits_are_all_set(container: Container, quantity: Callable[[str], float]) -> None:
    resources = container["resources"]
    for name in ("cpu", "memory", "ephemeral-storage"):
        assert quantity(resources["requests"][name]) <= quantity(resources["limits"][name])


def test_a_forward_pass_takes_as_many_threads_as_the_limit_allows(container: Container) -> None:
    threads = next(variable for variable in container["env"] if variable["name"] == PREFIX + "THREADS")
    assert threads["valueFrom"] == {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert container["resources"]["limits"]["cpu"].isdigit()  # a fraction would be rounded up


def test_the_gpu_is_asked_for_as_by_the_pipelines(rendered: dict[str, Objects]) -> None:
    cluster = ClusterSettings()
    pod = rendered["overlays/gpu"]["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"][cluster.accelerator] == "1"
    assert pod["tolerations"] == [{"key": cluster.accelerator, "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["nodeSelector"] == cluster.node_selector
    without = rendered["overlays/cpu"]["Deployment"]["spec"]["template"]["spec"]
    assert cluster.accelerator not in without["containers"][0]["resources"]["limits"]


def test_every_selector_finds_the_pods(overlay: Objects) -> None:
    deployment = overlay["Deployment"]["spec"]
    selectors = [
        deployment["selector"]["matchLabels"],
        overlay["Service"]["spec"]["selector"],
        overlay["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        overlay["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in deployment["template"]["spec"]["topologySpreadConstraints"]),
    ]
    labels = deployment["template"]["metadata"]["labels"]
    assert [selector.items() <= labels.items() for selector in selectors] == [True] * len(selectors)


def test_everything_carries_the_recommended_labels(overlay: Objects) -> None:
    for document in (*overlay.values(), overlay["Deployment"]["spec"]["template"]):
        labels = document["metadata"]["labels"]
        assert {"app.kubernetes.io/" + name for name in ("name", "component", "part-of", "managed-by")} <= set(labels)


def test_traffic_out_is_names_and_the_store_only(overlay: Objects) -> None:
    policy = overlay["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Egress", "Ingress"}
    names, inside, outside = policy["egress"]
    assert {(one["port"], one["protocol"]) for one in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert inside["to"] == [{"namespaceSelector": {"matchLabels": {"veriframe/store": "true"}}}]
    assert outside["ports"] == [{"port": 443, "protocol": "TCP"}]
    blocks = {block["ipBlock"]["cidr"]: block["ipBlock"]["except"] for block in outside["to"]}
    assert "169.254.0.0/16" in blocks["0.0.0.0/0"]
    assert "fd00:ec2::254/128" in blocks["::/0"]


def test_names_are_asked_of_the_dns_pods_or_of_the_node_itself_and_of_nobody_else(overlay: Objects) -> None:
    pods, *addresses = overlay["NetworkPolicy"]["spec"]["egress"][0]["to"]
    assert pods["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    (labels,) = pods["podSelector"]["matchExpressions"]
    assert (labels["key"], labels["operator"]) == ("k8s-app", "In")
    assert set(labels["values"]) == {"kube-dns", "coredns", "node-local-dns"}
    assert "matchLabels" not in pods["podSelector"]  # kustomize did not put the server's own labels there
    # NodeLocal DNSCache and Cloud DNS of GKE: both have the host's network, where no selector finds them.
    assert [one["ipBlock"] for one in addresses] == [{"cidr": "169.254.20.10/32"}, {"cidr": "169.254.169.254/32"}]


def test_the_documented_patch_lets_names_be_asked_at_the_address_of_the_service(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (patch,) = re.findall(r"^```yaml\n(# kustomization\.yaml.*?)^```$", text, re.MULTILINE | re.DOTALL)
    copied = tmp_path / "manifests"
    shutil.copytree(ROOT / "manifests", copied)
    (copied / "overlays" / "mine").mkdir()
    (copied / "overlays" / "mine" / "kustomization.yaml").write_text(patch)
    documents = [one for one in yaml.safe_load_all(build(copied / "overlays" / "mine")) if one]
    (policy,) = (one for one in documents if one["kind"] == "NetworkPolicy")
    assert {"ipBlock": {"cidr": "10.96.0.10/32"}} in policy["spec"]["egress"][0]["to"]
