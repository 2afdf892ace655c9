"""Errors in Anthropic's form."""

from __future__ import annotations

import pytest

from localserve.dialects.anthropic import error_answer
from localserve.errors import (
    ContextOverflow,
    EngineFailed,
    FieldProblem,
    InvalidRequest,
    InvalidSchema,
    KeyForbidden,
    KeyInvalid,
    KeyMissing,
    LocalserveError,
    ModelUnusable,
    OutOfMemory,
    Overloaded,
    RateLimited,
    UnknownModel,
)

PROBLEM = FieldProblem("messages", "Field required", "missing")


@pytest.mark.parametrize(
    ("error", "usual", "status", "kind"),
    [
        (InvalidRequest("No."), 400, 400, "invalid_request_error"),
        (InvalidSchema((PROBLEM,)), 422, 400, "invalid_request_error"),
        (ModelUnusable("Damaged."), 400, 400, "invalid_request_error"),
        (KeyMissing("No key."), 401, 401, "authentication_error"),
        (KeyInvalid("Wrong key."), 401, 401, "authentication_error"),
        (KeyForbidden("Not yours."), 403, 403, "permission_error"),
        (InvalidRequest("Another site."), 403, 403, "permission_error"),
        (UnknownModel("x", ()), 404, 404, "not_found_error"),
        (InvalidRequest("Nothing is there."), 404, 404, "not_found_error"),
        (InvalidRequest("Not so."), 405, 405, "invalid_request_error"),
        (InvalidRequest("Too much."), 413, 413, "request_too_large"),
        (RateLimited("requests", 2, 1, 0, 30), 429, 429, "rate_limit_error"),
        (LocalserveError("A bug."), 500, 500, "api_error"),
        (Overloaded("Full."), 503, 529, "overloaded_error"),
        (EngineFailed("It stopped."), 503, 529, "overloaded_error"),
        (OutOfMemory("Gone."), 503, 529, "overloaded_error"),
    ],
)
def test_types_and_statuses(error: LocalserveError, usual: int, status: int, kind: str) -> None:
    assert error_answer(error, usual, "r1") == (
        status,
        {"type": "error", "error": {"type": kind, "message": str(error)}, "request_id": "r1"},
    )


def test_an_overflow_has_the_words_that_clients_look_for() -> None:
    status, fields = error_answer(ContextOverflow(40213, 32768), 400, "r1")
    assert status == 400
    assert fields["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 40213 tokens > 32768 maximum",
    }
