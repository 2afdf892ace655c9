"""What arrives, taken apart: answers, refusals, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.loadtest.answer import Answer, Exchange, Failure, read_exchange


def event(content: str | None = None, reason: str | None = None, **fields: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return f"data: {json.dumps({'choices': choices, **fields})}\n\n".encode()


def exchange(*pieces: bytes, status: int | None = 200, broken: str | None = None) -> Exchange:
    reads = [(float(number), piece) for number, piece in enumerate(pieces, 1)]
    return Exchange(0.0, 100.0, status, reads, broken)


USAGE = b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\n'
END = event(reason="stop") + b"data: [DONE]\n\n"


def test_an_answer_is_when_its_text_came_and_how_many_tokens_it_has() -> None:
    raw = exchange(b": keep-alive\n\n", event(""), event("a"), event("b"), event("c"), USAGE + END)
    found = read_exchange(raw)
    assert found == Answer(0.0, 100.0, (3.0, 4.0, 5.0), 5)
    assert isinstance(found, Answer)
    assert (found.first_token_seconds, found.total_seconds) == (3.0, 100.0)
    assert found.gaps_seconds() == [1.0, 1.0]


def test_an_event_came_when_its_end_came() -> None:
    whole = event("a")
    found = read_exchange(exchange(whole[:9], whole[9:], END))
    assert found == Answer(0.0, 100.0, (2.0,), 1)


def test_reasoning_is_text_whatever_its_field() -> None:
    reasoning = [
        f'data: {{"choices": [{{"delta": {{"{name}": "hm"}}}}]}}\n\n'.encode()
        for name in ("reasoning", "reasoning_content")
    ]
    assert read_exchange(exchange(*reasoning, END)) == Answer(0.0, 100.0, (1.0, 2.0), 2)


@pytest.mark.parametrize(
    ("raw", "reason", "message"),
    [
        (exchange(status=None, broken="connection refused"), "connection refused", "refused"),
        (exchange(event("a"), broken="time-out"), "time-out", "time-out"),
        (
            exchange(b'{"error": {"code": "overloaded", "message": "Many wait."}}', status=503),
            "503 overloaded",
            "Many wait.",
        ),
        (exchange(b'{"error": "no such model"}', status=404), "404", "no such model"),
        (exchange(b"<html>Bad gateway</html>", status=502), "502", "<html>Bad gateway</html>"),
        (exchange(b"[1]", status=500), "500", "[1]"),
        (exchange(status=500), "500", "Status 500."),
        (
            exchange(
                event("a"), b'data: {"error": {"code": "engine_failed", "message": "Gone."}}\n'
            ),
            "engine_failed",
            "Gone.",
        ),
        (exchange(event("a")), "broken off", "ended before"),
        (exchange(END), "no text", "no text"),
        (exchange(b"data: {\n"), "no stream", "no stream"),
        (exchange(b'data: {"choices": 3}\n'), "no stream", "no stream"),
        (exchange(b'data: {"usage": {"completion_tokens": 1e999}}\n'), "no stream", "no stream"),
        (exchange(b"data: " + b"[" * 100_000 + b"\n"), "no stream", "no stream"),
        (exchange(b"hello"), "broken off", "ended before"),
    ],
)
def test_what_is_no_answer_says_why(raw: Exchange, reason: str, message: str) -> None:
    found = read_exchange(raw)
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert message in found.message


@given(
    st.sampled_from([200, 404]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "error", "usage", "completion_tokens", "code"]
                ),
                inner,
            )
        ),
    ),
)
def test_no_document_of_a_server_breaks_the_reader(status: int, document: object) -> None:
    text = json.dumps(document)
    raw = text if status != 200 else f"data: {text}\n\n"
    read_exchange(exchange(raw.encode(), status=status))
