"""Errors as responses: which status each has, and the errors that only HTTP knows.

Every failure leaves here in the shape of its route's dialect, never as a traceback.
Lives on the event loop.

InvalidRequest
├── RequestTooLarge        413
├── RequestTooSlow         408
├── HeadTooLarge           431
├── ContentEncodingUnsupported 415
├── RouteUnknown           404
├── ResponseUnknown        404
├── PreviousResponseUnknown 400
└── MethodUnsupported      405
Unavailable
└── TooManyConnections     503
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import ClassVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localserve.dialects import anthropic, llama_server, ollama
from localserve.dialects.openai import description_fields, error_fields
from localserve.errors import (
    AccessRefused,
    ConfigInvalid,
    DeadlineExceeded,
    InvalidRequest,
    InvalidSchema,
    KeyExists,
    KeyForbidden,
    KeyInvalid,
    LocalserveError,
    ModelInUse,
    ModelUnusable,
    OutOfMemory,
    RateLimited,
    Superseded,
    TimedOut,
    Unavailable,
    UnknownKey,
    UnknownModel,
    error_types,
)
from localserve.gateway.paths import route_path
from localserve.gateway.refusals import CrossSite, HostRefused, MediaTypeUnsupported
from localserve.server.paths import normal_path
from localserve.server.records import record_of

logger = logging.getLogger("localserve.server")

OUT_OF_MEMORY_RETRY_SECONDS = 30
"""Another program took the memory while a model was loaded; the next request tries again."""


class RequestTooLarge(InvalidRequest):
    """The body has more bytes than one request may have."""

    code: ClassVar[str] = "request_too_large"
    description: ClassVar[str] = (
        "The body is larger than this server accepts. Send less, or start the server with a larger"
        " LOCALSERVE_MAX_BODY_BYTES."
    )


class RequestTooSlow(InvalidRequest):
    """The body did not arrive in time."""

    code: ClassVar[str] = "request_too_slow"
    description: ClassVar[str] = "The body of the request did not arrive in time."


class HeadTooLarge(InvalidRequest):
    """The URL and the headers have more bytes than one request may have."""

    code: ClassVar[str] = "request_head_too_large"
    description: ClassVar[str] = (
        "The request's URL and headers together are larger than this server accepts."
    )


class ContentEncodingUnsupported(InvalidRequest):
    """The body is compressed."""

    code: ClassVar[str] = "content_encoding_unsupported"
    description: ClassVar[str] = (
        "Compressed bodies are not read. Send the JSON as it is, without Content-Encoding."
    )


class RouteUnknown(InvalidRequest):
    """There is nothing at this path."""

    code: ClassVar[str] = "route_unknown"
    description: ClassVar[str] = "There is nothing at this path."


class ResponseUnknown(InvalidRequest):
    """No response of that id is kept."""

    code: ClassVar[str] = "response_not_found"
    description: ClassVar[str] = (
        "No response of that id is kept: it was never given to this key, asked not to be stored, "
        "deleted, or others have taken its place."
    )


class PreviousResponseUnknown(InvalidRequest):
    """The response that a request goes on from is not kept."""

    code: ClassVar[str] = "previous_response_not_found"
    description: ClassVar[str] = (
        "The response that the request goes on from is not kept (any more). Send the whole "
        "conversation as input."
    )


class RequestNotRunning(InvalidRequest):
    """No request of that id is answered now."""

    code: ClassVar[str] = "request_not_running"
    description: ClassVar[str] = "No request of that id is answered now: it may have ended."


class RequestCancelled(InvalidRequest):
    """The administrator ended the request."""

    code: ClassVar[str] = "request_cancelled"
    description: ClassVar[str] = "The administrator of the server ended this request by hand."


class MethodUnsupported(InvalidRequest):
    """The path exists, but not for this method."""

    code: ClassVar[str] = "method_unsupported"
    description: ClassVar[str] = "The path exists, but not for this method; see the header Allow."


class TooManyConnections(Unavailable):
    """So many connections are open that no more are taken."""

    code: ClassVar[str] = "too_many_connections"
    description: ClassVar[str] = (
        "Too many connections are open already. Try again after Retry-After, or start the server "
        "with a larger LOCALSERVE_MAX_CONNECTIONS."
    )


_STATUSES: tuple[tuple[type[LocalserveError], int], ...] = (
    (RequestTooLarge, 413),
    (RequestTooSlow, 408),
    (HeadTooLarge, 431),
    (MediaTypeUnsupported, 415),
    (ContentEncodingUnsupported, 415),
    (RouteUnknown, 404),
    (ResponseUnknown, 404),
    (RequestNotRunning, 404),
    (MethodUnsupported, 405),
    (CrossSite, 403),
    (HostRefused, 403),
    (InvalidSchema, 422),
    (InvalidRequest, 400),
    (UnknownModel, 404),
    (KeyForbidden, 403),
    (AccessRefused, 401),
    (RateLimited, 429),
    (UnknownKey, 404),
    (KeyExists, 409),
    (ConfigInvalid, 400),
    (ModelInUse, 409),
    (Superseded, 409),
    (DeadlineExceeded, 504),
    (OutOfMemory, 503),
    (ModelUnusable, 400),
    (TimedOut, 504),
    (Unavailable, 503),
    (LocalserveError, 500),
)


Shape = Callable[[LocalserveError, int, str], tuple[int, dict[str, object]]]
"""From an error, its usual status and the request's id to the status and the body of an answer."""


def _usual_shape(
    error: LocalserveError, status: int, request_id: str
) -> tuple[int, dict[str, object]]:
    return status, error_fields(error, status, request_id)


_SHAPES: tuple[tuple[str, Shape], ...] = (
    ("/messages", anthropic.error_answer),
    ("/infill", llama_server.error_answer),
    ("/completion", llama_server.error_answer),
    ("/embedding", llama_server.error_answer),
    ("/tokenize", llama_server.error_answer),
    ("/detokenize", llama_server.error_answer),
    ("/apply-template", llama_server.error_answer),
    ("/props", llama_server.error_answer),
    ("/slots", llama_server.error_answer),
    ("/api/v0", _usual_shape),  # LM Studio's
    ("/api", ollama.error_answer),
)
"""Routes, with all below them, whose dialect has errors of its own; the first that fits."""

_BARE_SHAPES: Mapping[str, Shape] = {
    "/completions": llama_server.error_answer,
    "/embeddings": llama_server.error_answer,
}
"""Routes that have another dialect with `/v1` before them."""


def status_of(kind: type[LocalserveError]) -> int:
    """The HTTP status of a type of error, where the route's dialect has no other."""
    return next(status for parent, status in _STATUSES if issubclass(kind, parent))


def retry_after_seconds(error: LocalserveError) -> int | None:
    """When to try again; None where trying again would not help."""
    match error:
        case Unavailable() | RateLimited():
            return error.retry_after_seconds
        case OutOfMemory():
            return OUT_OF_MEMORY_RETRY_SECONDS
        case _:
            return None


def error_response(scope: Scope, error: LocalserveError, **more: object) -> Response:
    """The answer to a request that failed; `more` are further members of the body."""
    record = record_of(scope)
    record.error = error.code
    status, fields = _shape(scope)(error, status_of(type(error)), record.request_id)
    return JSONResponse(fields | more, status, headers=_headers_of(error))


def _shape(scope: Scope) -> Shape:
    whole = normal_path(scope["path"])
    path = route_path({**scope, "path": whole})
    if path in _BARE_SHAPES and not whole.endswith(f"/v1{path}"):
        return _BARE_SHAPES[path]
    for route, shape in _SHAPES:
        if path == route or path.startswith(f"{route}/"):
            return shape
    return _usual_shape


def _headers_of(error: LocalserveError) -> dict[str, str]:
    """Source: RFC 9110, sections 10.2.3 (Retry-After) and 15.5.16 (Accept-Encoding); RFC 6750,
    section 3 (WWW-Authenticate); OpenAI's SDKs, which try a 409 and a 504 again unless
    x-should-retry forbids it."""
    headers = {}
    if isinstance(error, ContentEncodingUnsupported):
        headers["accept-encoding"] = "identity"
    if isinstance(error, DeadlineExceeded | Superseded):
        headers["x-should-retry"] = "false"
    if (seconds := retry_after_seconds(error)) is not None:
        headers["retry-after"] = str(seconds)
    if status_of(type(error)) == 401:
        wrong = ', error="invalid_token"' if isinstance(error, KeyInvalid) else ""
        headers["www-authenticate"] = f'Bearer realm="localserve"{wrong}'
    return headers


async def answer_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for the errors of the tree."""
    assert isinstance(error, LocalserveError)
    return error_response(request.scope, error)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for what its router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    response: Response
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        wrong = MethodUnsupported(f"{path} does not take {method}.", hint=f"It takes {allowed}.")
        response = error_response(request.scope, wrong)
        response.headers["allow"] = allowed
    elif error.status_code == 404:
        response = error_response(request.scope, RouteUnknown(f"There is nothing at {path}."))
    else:
        response = error_response(request.scope, InvalidRequest(str(error.detail)))
        response.status_code = error.status_code
    return response


async def describe_error(request: Request) -> Response:
    """`GET /errors/{code}`: what a type of error means."""
    code = request.path_params["code"]
    for kind in error_types():
        if kind.code == code:
            return JSONResponse(description_fields(kind, status_of(kind)))
    raise RouteUnknown(f"There is no error with the code {code!r}.")


def internal_error(scope: Scope, error: BaseException) -> LocalserveError:
    """Log a bug with its traceback, and give what the client hears of it."""
    request_id = record_of(scope).request_id
    logger.error("request %s failed", request_id, exc_info=error)
    return LocalserveError(
        f"Something failed inside the server; its log has the details under {request_id}."
    )


def shutting_down() -> Unavailable:
    """What is told to whoever is not answered when the drain is over."""
    return Unavailable("The server is shutting down.", retry_after_seconds=5)


def request_cancelled() -> RequestCancelled:
    """What the client of a request is told that was ended by hand."""
    return RequestCancelled("The administrator of this server cancelled the request.")


class Failures:
    """Answers what middlewares refuse, 500 for what nobody caught, and 503 for what the end of the
    drain cancels."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noticing(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_noticing)
        except asyncio.CancelledError:
            response = error_response(scope, shutting_down())
        except LocalserveError as error:
            response = error_response(scope, error)
        except Exception as error:
            response = error_response(scope, internal_error(scope, error))
        else:
            return
        if not started:
            await response(scope, receive, send)
