"""The routes: health, analysis, the Open Inference Protocol V2, and metrics."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from bundle.analyzers import Analyzer, Category, RequestError, unsupported
from bundle.work import in_thread
from media.video import looks_like_video
from serving import tensors
from serving.body import FIELD, most_bytes, read_body, receive_file, too_large
from serving.dataplane import Model, ModelMetadata
from serving.documents import Live, Ready, ServerMetadata
from serving.errors import ErrorDocument
from serving.options import query_model
from serving.service import Service

T = TypeVar("T")
MEANINGS = {
    400: "the request cannot be read",
    404: "there is no such model",
    408: "the body did not arrive in time",
    413: "the body has too many bytes",
    415: "what was sent is of a kind that this bundle does not judge",
    422: "what was sent cannot be judged",
    429: "the server is busy; Retry-After says for how long",
    500: "the server failed",
    503: "the server is not ready",
    504: "the answer was not ready in time",
}
FORM = {"type": "object", "required": [FIELD], "properties": {FIELD: {"type": "string", "format": "binary"}}}
SNIFF_BYTES = 4096  # of a file tell what it is
REFERENCE = "#/components/schemas/{model}"


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the statuses that a route may answer with, for the OpenAPI document."""
    return {code: {"model": ErrorDocument, "description": MEANINGS[code]} for code in codes}


def build_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter()
    _add_health(router, service)
    _add_analysis(router, service)
    _add_models(router, service)
    return router


def _add_health(router: APIRouter, service: Service) -> None:
    @router.get("/v2/health/live", responses={200: {"model": Live}, 503: {"model": Live}}, response_model=None)
    async def live() -> Response:
        """Whether the process works; if not, it has to be restarted."""
        return _json(Live(live=service.live), 200 if service.live else 503)

    @router.get("/v2/health/ready", responses={200: {"model": Ready}, 503: {"model": Ready}}, response_model=None)
    async def ready() -> Response:
        """Whether requests should be sent here."""
        return _ready(service.ready)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_analysis(router: APIRouter, service: Service) -> None:
    form = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}}
    answers = errors(400, 408, 413, 415, 422, 429, 500, 503, 504)
    union: Any = reduce(or_, (task.answer for task in service.served))
    verdict: dict[str, Any] = {"model": union, "description": "the verdict on a picture or on faces"}

    options_model = query_model(service.served)

    @router.post("/v1/analyze", responses={200: verdict, **answers}, openapi_extra=form)
    async def analyze(request: Request, options: Annotated[options_model, Query()]) -> Response:  # type: ignore[valid-type]
        """Judge what the bundle is for: a picture (JPEG, PNG, TIFF, WebP or BMP), or the faces in one or in a video."""
        analyzer = service.analyzer
        receive = _analyze_any if analyzer.accepts_video else _analyze_picture
        answer = await receive(request, service, analyzer, options)
        return Response(answer, media_type="application/json")


def _add_models(router: APIRouter, service: Service) -> None:
    @router.get("/v2")
    async def server_metadata() -> ServerMetadata:
        """Name and version of the server."""
        return ServerMetadata(name="veriframe", version=service.version)

    @router.get("/v2/models/{name}", responses=errors(404, 503))
    async def model_metadata(name: str) -> ModelMetadata:
        """Tensors of the bundle, which judges pictures, or of a member, which maps tiles or faces to what it says."""
        return service.dataplane.find(name).metadata

    @router.get(
        "/v2/models/{name}/ready",
        responses={200: {"model": Ready}, **errors(404), 503: {"model": Ready}},
        response_model=None,
    )
    async def model_ready(name: str) -> Response:
        """Whether a model can be used."""
        return _ready(service.model_ready(name))

    reference = {"$ref": REFERENCE.format(model=tensors.InferenceRequest.__name__)}
    json_body = {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}
    answers = errors(400, 404, 408, 413, 422, 429, 500, 503, 504)

    @router.post(
        "/v2/models/{name}/infer",
        responses={200: {"model": tensors.InferenceResponse}, **answers},
        openapi_extra=json_body,
    )
    async def infer(name: str, request: Request) -> Response:
        """Run a model on a tensor."""
        settings = service.settings
        model = service.dataplane.find(name)
        with service.intake.arriving(most_bytes(request.headers, settings.max_bytes)):
            body = await read_body(request, settings.max_bytes, settings.body_timeout)
            with service.intake.place():
                answer = await _in_time(request, _infer(service, model, body), settings.timeout)
        return Response(answer, media_type="application/json")


async def _analyze_picture(request: Request, service: Service, analyzer: Analyzer[Any], options: BaseModel) -> bytes:
    """Analyze a body with a bundle that takes pictures alone; nothing of it is written to a file."""
    settings = service.settings
    with service.intake.arriving(most_bytes(request.headers, settings.max_bytes)):
        async with receive_file(request, settings.max_bytes, settings.body_timeout) as file:
            data = file.read()
        if looks_like_video(data[:SNIFF_BYTES]):
            raise unsupported("this bundle judges pictures (JPEG, PNG, TIFF, WebP, BMP), and this is a video")
        with service.intake.place():
            return await _in_time(request, analyzer.analyze_picture(data, options), settings.timeout)


async def _analyze_any(request: Request, service: Service, analyzer: Analyzer[Any], options: BaseModel) -> bytes:
    """Analyze a body with a bundle that takes videos too, of which long ones go to a temporary file."""
    settings = service.settings
    size = most_bytes(request.headers, settings.max_video_bytes)
    with ExitStack() as counted:
        counted.enter_context(service.intake.arriving(min(size, settings.spool_bytes)))
        if size > settings.spool_bytes:
            counted.enter_context(service.videos.arriving(size))
        limits = (settings.max_video_bytes, settings.body_timeout, settings.spool_bytes)
        async with receive_file(request, *limits) as file:
            head = file.read(SNIFF_BYTES)
            if looks_like_video(head):
                counted.enter_context(service.videos.place())
                work = analyzer.analyze_video(file, options)
                return await _in_time(request, work, settings.video_timeout)
            rest = file.read(settings.max_bytes + 1 - len(head))
        data = head + rest
        if len(data) > settings.max_bytes:
            raise too_large(settings.max_bytes, "a picture")
        counted.enter_context(service.intake.arriving(max(0, len(data) - settings.spool_bytes)))
        counted.enter_context(service.intake.place())
        return await _in_time(request, analyzer.analyze_picture(data, options), settings.timeout)


async def _infer(service: Service, model: Model, body: bytes) -> bytes:
    dataplane = service.dataplane
    request, arrays = await in_thread(service.pool, tensors.decode_request, body, model, dataplane)
    outputs = await dataplane.infer(model, arrays, request.output_names)
    return await in_thread(
        service.pool, lambda: tensors.to_response(request, model.metadata, outputs).model_dump_json().encode()
    )


async def _in_time(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await ``work`` as long as there is time and someone to answer to.

    Raises:
        RequestError: late after ``seconds``; abandoned when the client goes away.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise RequestError(Category.ABANDONED, "client-gone", "the client closed the connection")
        raise RequestError(Category.LATE, "timeout", f"the answer was not ready within {seconds:g} s")
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _ready(ready: bool) -> Response:
    return _json(Ready(ready=ready), 200 if ready else 503)


def _json(document: BaseModel, status: int) -> Response:
    return Response(document.model_dump_json(), status, media_type="application/json")
