"""Pulls and errors."""

from __future__ import annotations

import json

import pytest

from localserve.dialects.ollama import (
    AskedPull,
    error_answer,
    parse_pull,
    progress_line,
    status_line,
)
from localserve.errors import (
    FieldProblem,
    InvalidRequest,
    InvalidSchema,
    KeyMissing,
    LocalserveError,
    NotDownloaded,
    UnknownModel,
)


def test_what_to_pull() -> None:
    assert parse_pull(b'{"model": "qwen3:8b"}') == AskedPull("qwen3:8b", stream=True)
    assert parse_pull(b'{"name": " m ", "stream": false}') == AskedPull("m", stream=False)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"model": " "}', b'{"model": 1}', b"[]"])
def test_a_name_is_needed(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_pull(body)


def test_lines_of_progress() -> None:
    digest = "0123456789abcdef" * 4
    assert json.loads(status_line("success")) == {"status": "success"}
    assert json.loads(progress_line(digest, 5, 10)) == {
        "status": "pulling 0123456789ab",
        "digest": f"sha256:{digest}",
        "total": 10,
        "completed": 5,
    }


@pytest.mark.parametrize(
    ("error", "usual", "status"),
    [
        (UnknownModel("m", ()), 404, 404),
        (NotDownloaded("It is not on this disk."), 400, 404),
        (InvalidSchema((FieldProblem("model", "wrong", "t"),)), 422, 400),
        (KeyMissing("A key is needed."), 401, 401),
    ],
)
def test_errors_are_an_object_with_a_text(error: LocalserveError, usual: int, status: int) -> None:
    found, fields = error_answer(error, usual, "req-1")
    assert found == status
    assert list(fields) == ["error"]
    assert str(error) in str(fields["error"])
    assert (status == 404) == ("not found" in str(fields["error"]))
