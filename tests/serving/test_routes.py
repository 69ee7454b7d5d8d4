from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from bundle import open_networks, read_bundle
from bundle.analyzers import Item
from bundle.regions.analysis import analyze_picture, tiles_view
from bundle.regions.documents import Analysis
from media.pictures import decode_picture
from serving.app import create_app
from serving.batcher import Lane, stack_items
from serving.service import Service
from serving.settings import ServerSettings
from serving.tensors import InferenceResponse


def send(client: TestClient, data: bytes, **parameters: str) -> Analysis:
    answer = client.post("/v1/analyze", files={"file": ("a name", data)}, params=parameters)
    assert answer.status_code == 200, answer.text
    return Analysis.model_validate_json(answer.content)


def test_a_picture_sent_as_a_form_is_judged(client: TestClient, picture: Callable[..., bytes]) -> None:
    answer = send(client, picture(90, 60))
    assert answer.verdict == ("forged" if answer.score >= answer.threshold else "authentic")
    assert {member.name for member in answer.members} == {"colour", "ela"}
    assert answer.mask is not None
    assert send(client, picture(90, 60), mask="false").mask is None


def test_other_fields_of_the_form_are_ignored(client: TestClient, picture: Callable[..., bytes]) -> None:
    answer = client.post("/v1/analyze", data={"case": "17"}, files={"file": ("x", picture())})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_every_format_is_known_by_its_content(client: TestClient, picture: Callable[..., bytes], kind: str) -> None:
    assert send(client, picture(64, 40, kind)).picture.model_dump(exclude={"sha256"}) == {"width": 64, "height": 40}


def test_the_server_describes_itself_and_its_models(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "veriframe"
    bundle = client.get("/v2/models/tiny").json()
    assert bundle["inputs"] == [{"name": "picture", "datatype": "UINT8", "shape": [-1, -1, 3]}]
    assert {output["name"] for output in bundle["outputs"]} == {"score", "forged", "probability"}
    member = client.get("/v2/models/tiny.ela").json()
    assert member["inputs"] == [{"name": "tiles", "datatype": "UINT8", "shape": [-1, 6, 64, 64]}]
    assert member["versions"] == ["1"]
    assert client.get("/v2/models/tiny.ela/ready").json() == {"ready": True}


def test_a_model_that_is_not_there_is_404_with_a_suggestion(client: TestClient) -> None:
    for path in ("/v2/models/tiny.el", "/v2/models/tiny.el/ready"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "Did you mean 'tiny.ela'" in answer.json()["error"]


def infer(client: TestClient, model: str, name: str, array: np.ndarray, **more: object) -> InferenceResponse:
    one = {"name": name, "datatype": "UINT8", "shape": list(array.shape), "data": array.ravel().tolist()}
    answer = client.post(f"/v2/models/{model}/infer", json={"id": "7", "inputs": [one], **more})
    assert answer.status_code == 200, answer.text
    return InferenceResponse.model_validate_json(answer.content)


def test_inference_on_the_bundle_gives_the_verdict(
    client: TestClient, tiny_bundle: Path, picture: Callable[..., bytes]
) -> None:
    rgb = decode_picture(picture(50, 40))
    bundle = read_bundle(tiny_bundle)
    direct = analyze_picture(rgb, bundle.document, open_networks(bundle, "onnx", threads=1))
    answer = infer(client, "tiny", "picture", rgb)
    outputs = {output.name: output for output in answer.outputs}
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "tiny", "1")
    assert outputs["forged"].data == [direct.verdict.forged]
    assert outputs["score"].data == pytest.approx([direct.verdict.score])
    assert outputs["probability"].shape == [40, 50]
    np.testing.assert_allclose(outputs["probability"].data, direct.probability.ravel(), atol=1e-6)


def test_inference_on_a_member_gives_its_logits(
    client: TestClient, tiny_bundle: Path, picture: Callable[..., bytes]
) -> None:
    bundle = read_bundle(tiny_bundle)
    member = next(member for member in bundle.document.members if member.name == "ela")
    tiles, _ = tiles_view(member.input).tiles(decode_picture(picture(100, 64)))
    items: list[Item] = [{"tiles": tile} for tile in tiles]
    batch = stack_items(items)
    answer = infer(client, "tiny.ela", "tiles", batch["tiles"], outputs=[{"name": "logits"}])
    (output,) = answer.outputs
    direct = open_networks(bundle, "onnx", threads=1)["ela"]["model"](batch)["logits"]
    assert output.shape == list(direct.shape)
    np.testing.assert_allclose(output.data, direct.ravel(), atol=1e-5)


def test_a_failure_of_the_runtime_is_500_and_asks_for_a_restart_when_it_stays(
    service: Service, client: TestClient, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    batcher = service._batcher
    assert batcher is not None
    whole = batcher._lanes
    monkeypatch.setattr(batcher, "_lanes", dict.fromkeys(whole, Lane(broken, 1)))
    for _ in range(3):
        answer = client.post("/v1/analyze", files={"file": picture()})
        assert answer.status_code == 500
        assert answer.json()["reason"] == "internal"
        assert "CUDA" not in answer.text  # what the log has is not for strangers
    assert client.get("/v2/health/live").status_code == 503
    assert client.get("/v2/health/ready").status_code == 503
    monkeypatch.setattr(batcher, "_lanes", whole)
    assert client.post("/v1/analyze", files={"file": picture()}).status_code == 200
    assert client.get("/v2/health/live").status_code == 200
    exposed = client.get("/metrics").text
    assert 'veriframe_outcomes_total{outcome="error"} 3.0' in exposed
    assert "veriframe_rejected_total{" not in exposed  # nothing was refused


def test_before_the_bundle_is_there_the_server_is_live_and_not_ready(
    tiny_bundle: Path, picture: Callable[..., bytes]
) -> None:
    service = Service(ServerSettings(bundle=str(tiny_bundle)))
    client = TestClient(create_app(service))
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/tiny/ready").status_code == 503
    for answer in (client.get("/v2/models/tiny"), client.post("/v1/analyze", files={"file": picture()})):
        assert (answer.status_code, answer.json()["reason"]) == (503, "not-ready")
        assert answer.headers["Retry-After"]
    assert client.get("/metrics").status_code == 200
    service.close()


def test_while_it_drains_it_works_and_sends_clients_away(
    service: Service, client: TestClient, picture: Callable[..., bytes]
) -> None:
    assert "connection" not in client.get("/v2").headers
    service.drain()
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    answer = client.post("/v1/analyze", files={"file": picture()})
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


def test_an_identifier_is_kept_when_it_can_be(client: TestClient) -> None:
    assert client.get("/v2", headers={"X-Request-ID": "case-17:a"}).headers["x-request-id"] == "case-17:a"
    replaced = client.get("/v2", headers={"X-Request-ID": "a b"}).headers["x-request-id"]
    assert replaced != "a b"
    assert len(replaced) == 36


def test_requests_are_counted_by_route_and_never_by_path(client: TestClient) -> None:
    for path in ("/v2/models/a", "/v2/models/b", "/nothing", "/else?x=1"):
        client.get(path)
    client.put("/v1/analyze")
    exposed = client.get("/metrics").text
    assert 'veriframe_requests_total{code="404",route="/v2/models/{name}"} 2.0' in exposed
    assert 'veriframe_requests_total{code="404",route="unmatched"} 2.0' in exposed
    assert 'veriframe_requests_total{code="405",route="/v1/analyze"} 1.0' in exposed
    assert "/nothing" not in exposed


def test_every_error_has_one_shape(client: TestClient) -> None:
    for answer in (
        client.get("/nothing"),
        client.put("/v1/analyze"),
        client.post("/v1/analyze"),
        client.post("/v1/analyze", params={"mask": "perhaps"}, files={"file": b""}),
        client.post("/v2/models/tiny/infer", content=b"{"),
    ):
        assert 400 <= answer.status_code < 500
        assert set(answer.json()) == {"error", "reason"}


def test_the_openapi_document_names_every_status_of_the_guide(app: FastAPI, service: Service) -> None:
    document = app.openapi()
    analyze = document["paths"]["/v1/analyze"]["post"]
    assert set(analyze["responses"]) == {"200", "400", "408", "413", "415", "422", "429", "500", "503", "504"}
    answers = analyze["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert {"Analysis", "FaceAnalysis"} <= {task.answer.__name__ for task in service.served}
    assert {one["$ref"].rpartition("/")[2] for one in answers} == {task.answer.__name__ for task in service.served}
    form = analyze["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    reference = infer["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"id", "inputs", "outputs"} <= set(document["components"]["schemas"][reference]["properties"])
    guide = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    assert all(f"| {code} |" in guide for code in set(analyze["responses"]) - {"200", "500"})
