"""llama-server's errors: a code, a message and a type. Pure.

Source: format_error_response in llama.cpp's server-common.cpp.
"""

from __future__ import annotations

import json

from localserve.errors import (
    AccessRefused,
    ContextOverflow,
    KeyForbidden,
    LocalserveError,
    NoFillMiddle,
    NotSupported,
    OutOfMemory,
    RateLimited,
    Unavailable,
)

NOT_SUPPORTED = 501
"""The status of what a model or a server cannot do at all; 400 in other dialects."""


def error_answer(
    error: LocalserveError, status: int, request_id: str
) -> tuple[int, dict[str, object]]:
    """The status and the body of an answer, for an error that has `status` in other dialects."""
    if isinstance(error, NoFillMiddle | NotSupported):
        status = NOT_SUPPORTED
    elif status == 422:
        status = 400
    return status, error_fields(error, status)


def error_fields(error: LocalserveError, status: int) -> dict[str, object]:
    """The body."""
    fields: dict[str, object] = {
        "code": status,
        "message": str(error),
        "type": _type(error, status),
    }
    if isinstance(error, ContextOverflow):
        fields |= {"n_prompt_tokens": error.prompt_tokens, "n_ctx": error.context_tokens}
    return {"error": fields}


def error_event(error: LocalserveError) -> str:
    """The last event of a stream that fails."""
    status = 503 if isinstance(error, Unavailable) else 500
    return f"data: {json.dumps(error_fields(error, status))}\n\n"


def _type(error: LocalserveError, status: int) -> str:
    match error:
        case ContextOverflow():
            return "exceed_context_size_error"
        case NoFillMiddle() | NotSupported():
            return "not_supported_error"
        case KeyForbidden():
            return "permission_error"
        case AccessRefused():
            return "authentication_error"
        case RateLimited():
            return "rate_limit_error"
        case Unavailable() | OutOfMemory():
            return "unavailable_error"
        case _ if status == 404:
            return "not_found_error"
        case _ if status < 500:
            return "invalid_request_error"
        case _:
            return "server_error"
