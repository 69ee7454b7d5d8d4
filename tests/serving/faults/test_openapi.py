"""What the OpenAPI document promises is so, for requests that follow it and for requests that break it."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

EXAMPLES = 40  # of each route and kind
ROUTES = [
    "GET /metrics",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{name}",
    "GET /v2/models/{name}/ready",
    "POST /v1/analyze",
    "POST /v2/models/{name}/infer",
]


def find_operations(probe: Any) -> dict[str, Any]:
    document = schemathesis.openapi.from_url(f"{probe.url}/openapi.json")
    found = (result.ok() for result in document.get_all_operations())
    return {operation.label: operation for operation in found}


@pytest.fixture(scope="module")
def operations(target: Any) -> dict[str, Any]:
    """The document's operations by name."""
    return find_operations(target)


def test_these_are_all_routes(operations: dict[str, Any]) -> None:
    assert sorted(operations) == ROUTES


@pytest.fixture(scope="module")
def face_operations(face_target: Any) -> dict[str, Any]:
    """Those of a server that judges faces."""
    return find_operations(face_target)


def send(operation: Any, mode: GenerationMode, **path: str) -> None:
    """Send what the document says or, in the negative mode, what it says must not be sent; and check the answers."""

    @seed(0)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def exchange(case: Any) -> None:
        case.path_parameters |= path
        # That a file is a picture, and that numbers are as many as a shape says, is beyond what the document can say.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    exchange()


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_answers_as_the_document_says(operations: dict[str, Any], unharmed: None, route: str) -> None:
    send(operations[route], GenerationMode.POSITIVE)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("model", ["tiny", "tiny.ela"])
def test_inference_on_a_model_that_exists_answers_as_the_document_says(
    operations: dict[str, Any], unharmed: None, model: str, mode: GenerationMode
) -> None:
    send(operations["POST /v2/models/{name}/infer"], mode, name=model)


def test_forms_that_the_document_forbids_are_refused(operations: dict[str, Any], unharmed: None) -> None:
    send(operations["POST /v1/analyze"], GenerationMode.NEGATIVE)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("model", ["tiny-faces", "tiny-faces.clips"])
def test_inference_about_faces_answers_as_the_document_says(
    face_operations: dict[str, Any], face_target: Any, model: str, mode: GenerationMode
) -> None:
    send(face_operations["POST /v2/models/{name}/infer"], mode, name=model)
    assert "Traceback" not in face_target.server.log


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_a_server_of_faces_answers_as_the_document_says(
    face_operations: dict[str, Any], face_target: Any, mode: GenerationMode, clip: Callable[..., bytes], portrait: bytes
) -> None:
    send(face_operations["POST /v1/analyze"], mode)
    analysis = face_operations["POST /v1/analyze"]
    for medium in (clip(12), clip(12, face=False), clip(3), portrait):
        analysis.Case(body={"file": medium}, media_type="multipart/form-data").call_and_validate()
    assert "Traceback" not in face_target.server.log
