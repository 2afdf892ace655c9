"""The one error shape: OpenAI's `error` object together with the members of RFC 9457.

Clients that know OpenAI read `error`, others `type`, `title`, `status`, `detail` and `instance`.
Both are JSON objects, so one body serves both; it is sent as application/json, because OpenAI
clients do not parse application/problem+json. Pure; the status comes from the server.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from localserve.errors import (
    AccessRefused,
    ContextOverflow,
    DeadlineExceeded,
    InvalidRequest,
    InvalidSchema,
    KeyForbidden,
    LocalserveError,
    ModelUnusable,
    OutOfMemory,
    RateLimited,
    Superseded,
    Unavailable,
    UnknownModel,
)


def error_fields(error: LocalserveError, status: int, request_id: str) -> dict[str, object]:
    """The body of an error answer. `instance` names the request, not a resource."""
    fields: dict[str, object] = {
        "error": openai_error(error),
        "type": type_path(error.code),
        "title": title(type(error)),
        "status": status,
        "detail": str(error),
        "instance": f"/requests/{quote(request_id, safe='')}",
    }
    if isinstance(error, InvalidSchema):
        fields["errors"] = [
            {"field": problem.field, "message": problem.message, "type": problem.type}
            for problem in error.problems
        ]
    return fields


def error_frame(error: LocalserveError) -> str:
    """The last frame of a stream that fails after its headers went out."""
    return json.dumps({"error": openai_error(error)})


def description_fields(kind: type[LocalserveError], status: int) -> dict[str, object]:
    """What `GET /errors/CODE` says of a type of error."""
    return {
        "type": type_path(kind.code),
        "title": title(kind),
        "status": status,
        "detail": kind.description,
    }


def openai_error(error: LocalserveError) -> dict[str, object]:
    """The `error` object."""
    fields: dict[str, object] = {
        "message": str(error),
        "type": _openai_type(error),
        "param": _param(error),
        "code": error.code,
    }
    if isinstance(error, ContextOverflow):
        fields["n_prompt_tokens"] = error.prompt_tokens
        fields["n_ctx"] = error.context_tokens
    return fields


def type_path(code: str) -> str:
    """Where the type of an error is described."""
    return f"/errors/{code}"


def title(kind: type[LocalserveError]) -> str:
    """The type's name in words, the same for all errors of the type."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).removesuffix(" Error")
    return words.capitalize() if kind is not LocalserveError else "Internal error"


def _openai_type(error: LocalserveError) -> str:
    match error:
        case ContextOverflow():
            return "exceed_context_size_error"
        case RateLimited():
            return error.kind
        case KeyForbidden():
            return "permission_error"
        case AccessRefused():
            return "authentication_error"
        case DeadlineExceeded():
            return "timeout_error"
        case Unavailable() | OutOfMemory():
            return "unavailable_error"
        case InvalidRequest() | UnknownModel() | ModelUnusable() | Superseded():
            return "invalid_request_error"
        case _:
            return "server_error"


def _param(error: LocalserveError) -> str | None:
    match error:
        case InvalidRequest():
            return error.param
        case UnknownModel() | ModelUnusable():
            return "model"
        case _:
            return None
