"""A real Prometheus scrapes the real server: what the documentation promises is there, and the figures are right.

Needs Debian's package ``prometheus`` (programs ``prometheus`` and ``promtool``, no service); with CI=true its absence
is a failure.
"""

import http.client
import json
import math
import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from bench.prometheus import PACKAGE, Prometheus, Series, installed, scraping
from serving.process import ServerProcess

DOCS = Path(__file__).resolve().parents[2] / "docs"
REQUESTS = "veriframe_requests_total"
TURN_SECONDS = 0.7  # so that the requests spread over several scrapes
SETTLED_SCRAPES = 3  # between the first request of each kind and the first reading

_BOUNDARY = "boundary-of-the-test"


def form(field: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of a multipart form with one file."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="picture"\r\n\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return headers, head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Kind:
    """A request, how it is to be counted, and how often it is sent."""

    route: str
    code: int
    count: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    reason: str = ""  # under which a refusal is counted


def kinds(good: bytes) -> list[Kind]:
    return [
        Kind("/v1/analyze", 200, 7, "POST", "/v1/analyze", *form("file", good)),
        Kind("/v1/analyze", 422, 5, "POST", "/v1/analyze", *form("file", b"no picture"), "not-a-picture"),
        Kind("/v1/analyze", 400, 3, "POST", "/v1/analyze", {"Content-Type": "text/plain"}, b"hello", "bad-request"),
        # The server answers from the header alone.
        Kind("/v1/analyze", 413, 2, "POST", "/v1/analyze", {"Content-Length": str(10**9)}, b"", "too-many-bytes"),
        Kind("/v2", 200, 4, "GET", "/v2", {}),
        Kind("/v2/models/{name}", 404, 2, "GET", "/v2/models/nobody", {}, b"", "unknown-model"),
        Kind("unmatched", 404, 3, "GET", "/no/such/route", {}),
    ]


def send(served: ServerProcess, kind: Kind) -> None:
    """Send one request and check that its answer is of its kind."""
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    try:
        connection.request(kind.method, kind.path, kind.body or None, kind.headers)
        answer = connection.getresponse()
        assert answer.status == kind.code, answer.read()
        answer.read()
    finally:
        connection.close()


@dataclass(frozen=True)
class Observed:
    """What was sent between two scrapes, whose Unix times in seconds are ``before`` and ``after``."""

    prometheus: Prometheus
    before: float
    after: float
    sent: list[Kind]

    def counted(self, expression: str) -> dict[tuple[str, ...], float]:
        """How far an expression moved between the scrapes, by its labels' values in the order of their names."""

        def at(moment: float) -> dict[tuple[str, ...], float]:
            found = self.prometheus.query(expression, moment)
            return {tuple(one.labels[name] for name in sorted(one.labels)): one.value for one in found}

        before, after = at(self.before), at(self.after)
        moved = {labels: value - before.get(labels, 0.0) for labels, value in after.items()}
        return {labels: value for labels, value in moved.items() if value}


@pytest.fixture(scope="module")
def observed(served: ServerProcess, picture: Callable[..., bytes]) -> Iterator[Observed]:
    """A Prometheus that has seen a known mixture of requests."""
    if not installed():
        message = f"prometheus and promtool are not installed (Debian's package {PACKAGE})"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    sent = kinds(picture())
    with scraping(served.url) as prometheus:
        # A counter is not there before its first increment: one of each kind, so that every later one is an increase.
        for kind in sent:
            send(served, kind)
        for _ in range(SETTLED_SCRAPES):
            before = prometheus.wait_for_scrape()
        for turn in range(max(kind.count for kind in sent)):
            for kind in sent:
                if turn < kind.count:
                    send(served, kind)
            time.sleep(TURN_SECONDS)
        yield Observed(prometheus, before, prometheus.wait_for_scrape(), sent)


@pytest.fixture(scope="module")
def documented() -> dict[str, set[str]]:
    """Labels by metric, from the table of metrics in docs/serving.md."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (DOCS / "serving.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    header = next([cell.lower() for cell in row] for row in rows if row[0].lower() == "metric")
    labels = header.index("labels")
    found = {
        re.sub(r"[`{}]", "", row[0]): set(re.findall(r"`(\w+)`", row[labels]))
        for row in rows
        if row[0].startswith("`veriframe_")
    }
    assert found
    return found


def parts(metric: str, names: set[str]) -> list[tuple[str, set[str]]]:
    """The series of a metric as Prometheus stores them, each with the labels it has beside the metric's own."""
    if f"{metric}_bucket" in names:
        return [(f"{metric}_bucket", {"le"}), (f"{metric}_sum", set()), (f"{metric}_count", set())]
    return [(metric, set())]


def test_every_documented_metric_has_exactly_its_labels(observed: Observed, documented: dict[str, set[str]]) -> None:
    names = observed.prometheus.names()
    promised, found = {}, {}
    for metric, labels in documented.items():
        for name, own in parts(metric, names):
            promised[name] = {frozenset(labels | own)}
            found[name] = {frozenset(series.labels) for series in observed.prometheus.query(name, observed.after)}
    assert found == promised


def test_every_metric_of_the_project_is_documented(observed: Observed, documented: dict[str, set[str]]) -> None:
    ours = {name for name in observed.prometheus.names() if name.startswith("veriframe_")}
    stored = {name for metric in documented for name, _ in parts(metric, ours)}
    created = {name for name in ours if name.endswith("_created")}  # the client library's own
    assert ours - created == stored


def test_requests_are_counted_by_route_and_code(observed: Observed) -> None:
    counted = observed.counted(f'{REQUESTS}{{route!="/metrics"}}')
    assert counted == {(str(kind.code), kind.route): kind.count for kind in observed.sent}


def test_refusals_are_counted_by_reason(observed: Observed) -> None:
    expected = Counter({kind.reason: kind.count for kind in observed.sent if kind.reason})
    assert observed.counted("veriframe_rejected_total") == {(reason,): count for reason, count in expected.items()}


def test_every_picture_leaves_a_score_of_each_member_and_a_time_of_each_stage(observed: Observed) -> None:
    judged = next(kind.count for kind in observed.sent if (kind.route, kind.code) == ("/v1/analyze", 200))
    scores = observed.counted("veriframe_score_count")
    assert ("ensemble",) in scores
    assert len(scores) > 1
    assert set(scores.values()) == {judged}
    assert observed.counted("veriframe_member_disagreement_count") == {(): judged}
    assert observed.counted("veriframe_outcomes_total") == {("judged",): judged}
    stages = observed.counted("veriframe_stage_seconds_count")
    assert {stage: count for (stage,), count in stages.items() if stage != "decode"} == dict.fromkeys(
        ("preprocess", "queue", "inference", "postprocess"), judged
    )
    assert stages[("decode",)] >= judged  # what turns out to be no picture may have taken some of it too


def test_nothing_is_left_in_flight(observed: Observed) -> None:
    gauges = [observed.prometheus.query(f"veriframe_{name}", observed.after) for name in ("queue_depth", "in_flight")]
    assert [series.value for (series,) in gauges] == [0, 0]


def test_the_bundle_is_named(observed: Observed, served: ServerProcess) -> None:
    (info,) = observed.prometheus.query("veriframe_bundle_info", observed.after)
    assert info.value == 1
    assert re.fullmatch(r"[0-9a-f]{64}", info.labels["sha256"])
    assert info.labels["runtime"] in ("onnx", "torchscript")
    with urllib.request.urlopen(f"{served.url}/v2/models/{info.labels['name']}", timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("function", ["increase", "rate"])
def test_what_prometheus_computes_matches_the_requests_sent(function: str, observed: Observed) -> None:
    """Prometheus stretches the increase between the outermost samples to the whole window, and no further."""
    window = math.ceil(observed.after - observed.before) + 1
    selector = f'{REQUESTS}{{route!="/metrics"}}'

    def by_kind(series: list[Series]) -> dict[tuple[str, str], Series]:
        return {(one.labels["route"], one.labels["code"]): one for one in series}

    raw = by_kind(observed.prometheus.query(f"{selector}[{window}s]", observed.after))
    computed = by_kind(observed.prometheus.query(f"{function}({selector}[{window}s])", observed.after))
    seconds = window if function == "rate" else 1
    for kind in observed.sent:
        key = (kind.route, str(kind.code))
        sampled = raw[key].samples[-1][0] - raw[key].samples[0][0]
        assert window / sampled < 1.5
        requests = computed[key].value * seconds
        assert kind.count * (1 - 1e-9) <= requests <= kind.count * window / sampled * (1 + 1e-9)


def test_promtool_accepts_the_metrics(observed: Observed, served: ServerProcess) -> None:
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=10) as answer:
        text = answer.read()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    broken = text.replace(b"veriframe_requests_total{", b"veriframe_requests_total{{")
    refused = subprocess.run(["promtool", "check", "metrics"], input=broken, capture_output=True, check=False)
    assert refused.returncode != 0


def blocks(language: str) -> list[str]:
    """The code of one language in docs/deployment.md."""
    text = (DOCS / "deployment.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def documented_queries() -> list[str]:
    return [line for block in blocks("promql") for line in block.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("expression", documented_queries())
def test_a_documented_query_answers(expression: str, observed: Observed) -> None:
    assert observed.prometheus.query(expression, observed.after)


def test_the_documented_scrape_configuration_finds_the_pods(observed: Observed, tmp_path: Path) -> None:
    """Debian's build cannot ask Kubernetes, so the pods are given, with the labels that Kubernetes would give them."""
    (text,) = (block for block in blocks("yaml") if "scrape_configs" in block)
    config = yaml.safe_load(text)
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["veriframe"]}}]
    annotation = "__meta_kubernetes_pod_annotation_prometheus_io_"
    ours = {f"{annotation}scrape": "true", f"{annotation}port": "8080", "__meta_kubernetes_pod_name": "ours"}
    job["static_configs"] = [
        {"targets": ["192.0.2.1:9999"], "labels": ours},  # another port of the container
        {"targets": ["192.0.2.2"], "labels": ours},
        {"targets": ["192.0.2.3"], "labels": {"__meta_kubernetes_pod_name": "not-ours"}},
    ]
    (tmp_path / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    command = ["promtool", "check", "service-discovery", "--timeout=1s", tmp_path / "prometheus.yml", job["job_name"]]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    scraped = [target["labels"] for target in found if target["labels"]]
    # promtool keeps what it finds in a map, so that it is printed in any order.
    assert sorted((one["__address__"], one["__metrics_path__"], one["pod"]) for one in scraped) == [
        ("192.0.2.1:8080", "/metrics", "ours"),
        ("192.0.2.2:8080", "/metrics", "ours"),
    ]
