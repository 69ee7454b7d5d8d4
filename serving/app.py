"""The ASGI application: routes, the shape of errors, and the OpenAPI document."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bundle.analyzers import Category, RequestError
from serving.errors import STATUSES, ErrorDocument, headers_of, status_of
from serving.metrics import ERROR
from serving.middleware import Observer
from serving.routes import REFERENCE, build_routes
from serving.service import Service
from serving.tensors import InferenceRequest

_log = logging.getLogger(__name__)


def create_app(service: Service) -> FastAPI:
    """Build the application of a service."""
    # Without the pages that show the OpenAPI document: they load scripts of strangers.
    app = FastAPI(title="Veriframe", version=service.version, docs_url=None, redoc_url=None)
    app.include_router(build_routes(service))
    app.add_middleware(Observer, service=service)

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        service.metrics.rejected.labels(error.reason).inc()
        return _answer(status_of(error), error.detail, error.reason, headers_of(error))

    @app.exception_handler(HTTPException)
    async def refuse_route(_: Request, error: HTTPException) -> Response:
        reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return _answer(error.status_code, str(error.detail), reason, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_: Request, error: RequestValidationError) -> Response:
        problem = error.errors()[0]
        service.metrics.rejected.labels("bad-parameter").inc()
        return _answer(422, f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}", "bad-parameter")

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        _log.error("request %s failed: %r", request.scope.get("request_id"), error)
        service.metrics.observe_outcome(ERROR)
        status = STATUSES[Category.FAILED]
        return _answer(status, "the server failed; its log has more under this answer's X-Request-ID", "internal")

    _describe_request(app)
    return app


def _describe_request(app: FastAPI) -> None:
    """Add the schema of the body that ``infer`` reads by itself, off the event loop."""
    document = app.openapi()
    schema: dict[str, Any] = InferenceRequest.model_json_schema(ref_template=REFERENCE)
    document["components"]["schemas"] |= schema.pop("$defs") | {InferenceRequest.__name__: schema}


def _answer(status: int, error: str, reason: str, headers: Any = None) -> Response:
    return JSONResponse(ErrorDocument(error=error, reason=reason).model_dump(), status, headers)
