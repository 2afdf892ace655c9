"""llama-server's error shape."""

from __future__ import annotations

import pytest

from localserve.dialects.llama_server import error_answer
from localserve.errors import (
    ContextOverflow,
    FieldProblem,
    InvalidRequest,
    InvalidSchema,
    KeyForbidden,
    KeyMissing,
    LocalserveError,
    NoFillMiddle,
    NotSupported,
    Overloaded,
    RateLimited,
    UnknownModel,
)


@pytest.mark.parametrize(
    ("error", "usual", "status", "kind"),
    [
        (InvalidRequest("x"), 400, 400, "invalid_request_error"),
        (InvalidSchema((FieldProblem("a", "b", "c"),)), 422, 400, "invalid_request_error"),
        (NoFillMiddle("m", None), 400, 501, "not_supported_error"),
        (NotSupported("x"), 400, 501, "not_supported_error"),
        (UnknownModel("m", ()), 404, 404, "not_found_error"),
        (KeyMissing("x"), 401, 401, "authentication_error"),
        (KeyForbidden("x"), 403, 403, "permission_error"),
        (RateLimited("requests", 1, 1, 0, 7), 429, 429, "rate_limit_error"),
        (Overloaded("x"), 503, 503, "unavailable_error"),
        (LocalserveError("x"), 500, 500, "server_error"),
    ],
)
def test_an_error_has_a_code_a_message_and_a_type(
    error: LocalserveError, usual: int, status: int, kind: str
) -> None:
    assert error_answer(error, usual, "req-1") == (
        status,
        {"error": {"code": status, "message": str(error), "type": kind}},
    )


def test_an_overflow_tells_the_numbers() -> None:
    _, fields = error_answer(ContextOverflow(4000, 2048, param="prompt"), 400, "req-1")
    error = fields["error"]
    assert isinstance(error, dict)
    assert error["type"] == "exceed_context_size_error"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (4000, 2048)
