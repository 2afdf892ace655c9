"""Anthropic's errors: their types, the statuses that go with them, and the words that clients read.

Pure. Source: Anthropic's API reference, 'Errors'.
"""

from __future__ import annotations

import json

from localserve.errors import (
    AccessRefused,
    ContextOverflow,
    InvalidRequest,
    KeyForbidden,
    LocalserveError,
    ModelUnusable,
    OutOfMemory,
    RateLimited,
    TimedOut,
    Unavailable,
    UnknownModel,
)

OVERLOADED = 529
"""The status of what may succeed later; 503 elsewhere."""

IN_STREAM = 200
"""The status that was sent before the stream failed."""

_TYPES = {403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
"""Of requests whose fault has a status of its own."""


def error_answer(
    error: LocalserveError, status: int, request_id: str
) -> tuple[int, dict[str, object]]:
    """The status and the body of an answer, for an error that has `status` in other dialects."""
    match error:
        case Unavailable() | OutOfMemory():
            status = OVERLOADED
        case _ if status == 422:
            status = 400
    return status, error_fields(error, status) | {"request_id": request_id}


def error_fields(error: LocalserveError, status: int) -> dict[str, object]:
    """The error object."""
    return {"type": "error", "error": {"type": _type(error, status), "message": _message(error)}}


def error_event(error: LocalserveError) -> str:
    """The last event of a stream that fails."""
    return f"event: error\ndata: {json.dumps(error_fields(error, IN_STREAM))}\n\n"


def _type(error: LocalserveError, status: int) -> str:
    match error:
        case Unavailable() | OutOfMemory():
            return "overloaded_error"
        case TimedOut():
            return "timeout_error"
        case RateLimited():
            return "rate_limit_error"
        case KeyForbidden():
            return "permission_error"
        case AccessRefused():
            return "authentication_error"
        case UnknownModel():
            return "not_found_error"
        case InvalidRequest() | ModelUnusable():
            return _TYPES.get(status, "invalid_request_error")
        case _:
            return "api_error"


def _message(error: LocalserveError) -> str:
    """Clients find numbers in the message of an overflow, and shorten the conversation by them."""
    if isinstance(error, ContextOverflow):
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.context_tokens} maximum"
    return str(error)
