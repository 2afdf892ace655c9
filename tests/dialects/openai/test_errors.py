"""The one error shape."""

from __future__ import annotations

import json

import pytest

from localserve.dialects.openai import description_fields, error_fields, error_frame
from localserve.errors import (
    ContextOverflow,
    FieldProblem,
    InvalidSchema,
    LocalserveError,
    Overloaded,
    UnknownModel,
    error_types,
)


def test_an_overflow_says_what_clients_look_for() -> None:
    assert error_fields(ContextOverflow(40213, 32768), 400, "r1")["error"] == {
        "message": (
            "This model's maximum context length is 32768 tokens. However, your request has 40213"
            " input tokens: prompt is too long, it exceeds the available context size and exceeds"
            " the context window. Please reduce the length of the messages."
        ),
        "type": "exceed_context_size_error",
        "param": "messages",
        "code": "context_length_exceeded",
        "n_prompt_tokens": 40213,
        "n_ctx": 32768,
    }


def test_an_overflow_that_was_not_counted_says_so_where_clients_look_for_the_number() -> None:
    error = error_fields(ContextOverflow(40213, 32768, counted=False), 400, "r1")["error"]
    assert isinstance(error, dict)
    assert "your request has 40213 input tokens or more: prompt is too long" in error["message"]
    assert error["n_prompt_tokens"] == 40213


def test_both_shapes_say_the_same() -> None:
    fields = error_fields(UnknownModel("x", ("y",), hint="Try y."), 404, "r 1/2")
    assert fields == {
        "error": {
            "message": "The model 'x' does not exist here. Did you mean 'y'? Try y.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
        "type": "/errors/model_not_found",
        "title": "Unknown model",
        "status": 404,
        "detail": "The model 'x' does not exist here. Did you mean 'y'? Try y.",
        "instance": "/requests/r%201%2F2",
    }


def test_schema_problems_are_listed() -> None:
    problems = (FieldProblem("n", "too small", "ge"), FieldProblem("stop.0", "no text", "str"))
    fields = error_fields(InvalidSchema(problems), 422, "r1")
    assert fields["errors"] == [
        {"field": "n", "message": "too small", "type": "ge"},
        {"field": "stop.0", "message": "no text", "type": "str"},
    ]


def test_a_stream_ends_with_the_same_error_object() -> None:
    error = Overloaded("64 requests wait.")
    assert json.loads(error_frame(error)) == {"error": error_fields(error, 503, "r")["error"]}


@pytest.mark.parametrize("kind", error_types())
def test_every_type_is_described(kind: type[LocalserveError]) -> None:
    fields = description_fields(kind, 400)
    assert fields["type"] == f"/errors/{kind.code}"
    assert str(fields["detail"]).endswith(".")
