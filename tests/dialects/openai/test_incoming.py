"""What other servers answer: well-formed, malformed, and refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallBegun,
)
from localserve.dialects.openai.incoming import (
    AnswerReader,
    context_of,
    error_of,
    read_scores,
    read_vectors,
)
from localserve.errors import (
    ContextOverflow,
    EngineFailed,
    InvalidRequest,
    LocalserveError,
    ModelUnusable,
    Overloaded,
)


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta or {}, **more}]}


def read(*chunks: dict[str, Any], choices: int = 1) -> list[ChatEvent]:
    reader = AnswerReader("m", choices)
    events = [event for one in chunks for event in reader.take(json.dumps(one).encode())]
    return [*events, *reader.end()]


def test_an_answer_with_everything() -> None:
    call = {"index": 5, "id": "abc", "function": {"name": "look", "arguments": ""}}
    more = {"index": 5, "function": {"arguments": '{"a":1}'}}
    score = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
    events = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "Hi"}, logprobs={"content": [score]}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [more]}),
        chunk(finish_reason="tool_calls"),
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        },
    )
    accepted, thought, text, begun, arguments, finished, completed = events
    assert accepted == Accepted("m", 0)
    assert thought == ReasoningDelta(0, "Hm.")
    assert isinstance(text, TextDelta)
    assert (text.text, text.logprobs[0].raw, text.logprobs[0].logprob) == ("Hi", b"Hi", -0.5)
    assert begun == ToolCallBegun(0, 0, "abc", "look")
    assert arguments == ArgumentsDelta(0, 0, '{"a":1}')
    assert finished == Finished(0, "tool_calls")
    assert isinstance(completed, Completed)
    assert completed.usage.cached_tokens == 8
    assert (completed.usage.prompt_tokens, completed.usage.completion_tokens) == (9, 4)


def test_texts_and_several_choices() -> None:
    events = read(
        {"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]},
        {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]},
        {"choices": [{"index": 1, "text": "", "finish_reason": "content_filter"}]},
        choices=2,
    )
    assert TextDelta(1, "b") in events
    assert Finished(0, "length") in events
    assert Finished(1, "stop") in events


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "does not speak"),
        (b"[]", "does not speak"),
        (b'{"choices": 3}', "choices"),
        (b'{"choices": [{"index": 7}]}', "more choices"),
        (b'{"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}', "without a name"),
        (b'{"error": {"message": "cuda\\nis gone"}}', "cuda is gone"),
    ],
)
def test_nonsense_is_a_failure_of_the_engine(data: bytes, problem: str) -> None:
    with pytest.raises(EngineFailed, match=problem):
        list(AnswerReader("m", 1).take(data))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ('{"message": "no such thing", "code": 400}', InvalidRequest),
        ('{"type": "exceed_context_size_error", "code": 400}', ContextOverflow),
        ('{"message": "full", "code": 503}', Overloaded),
        ('{"message": "died", "code": 500}', EngineFailed),
        ('{"message": "died", "code": 200}', EngineFailed),
        ('{"message": "died", "code": true}', EngineFailed),
        ('{"message": "died", "code": "x"}', EngineFailed),
        ('"died"', EngineFailed),
    ],
)
def test_an_error_in_a_stream_is_what_its_code_says(
    error: str, kind: type[LocalserveError]
) -> None:
    with pytest.raises(LocalserveError) as raised:
        list(AnswerReader("m", 1).take(f'{{"error": {error}}}'.encode()))
    assert type(raised.value) is kind


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["choices", "delta", "index", "content", "usage", "tool_calls"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_events_or_a_failure(data: bytes) -> None:
    with contextlib.suppress(LocalserveError):
        list(AnswerReader("m", 1).take(data))


def test_an_answer_that_was_cut_off_is_a_failure() -> None:
    with pytest.raises(EngineFailed, match="before it was complete"):
        read(chunk({"content": "Hi"}))


def test_vectors_come_in_their_order_with_length_one() -> None:
    rows = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}]
    body = json.dumps({"data": rows, "usage": {"prompt_tokens": 3}}).encode()
    answer = read_vectors(body, "m", 2)
    np.testing.assert_allclose(answer.vectors, [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)
    assert answer.prompt_tokens == 3
    for wrong in (
        rows[:1],
        [*rows, rows[0] | {"index": 2}],
        [rows[0], {"index": 0, "embedding": [1]}],
    ):
        with pytest.raises(EngineFailed):
            read_vectors(json.dumps({"data": wrong}).encode(), "m", 2)


def test_scores_come_in_their_order() -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    assert read_scores(json.dumps({"results": results}).encode(), "m", 2).scores == (0.1, 0.9)
    with pytest.raises(EngineFailed):
        read_scores(json.dumps({"results": results[:1]}).encode(), "m", 2)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"message": "no such thing"}}', InvalidRequest),
        (400, b'{"error": {"code": "context_length_exceeded", "message": "x"}}', ContextOverflow),
        (400, b'{"message": "maximum context length is 4096 tokens"}', ContextOverflow),
        (422, b"[]", InvalidRequest),
        (401, b"", ModelUnusable),
        (404, b"<html>", ModelUnusable),
        (429, b"{}", Overloaded),
        (503, b"{}", Overloaded),
        (500, b"\xff", EngineFailed),
        (302, b"", EngineFailed),
    ],
)
def test_refusals_have_our_shape(status: int, body: bytes, kind: type[LocalserveError]) -> None:
    assert type(error_of(status, body, None)) is kind


def test_refusals_keep_their_numbers() -> None:
    words = {"message": "maximum context length is 4096 tokens, you asked for 5000"}
    error = error_of(400, json.dumps({"error": words}).encode(), None)
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens) == (5000, 4096)
    numbers = {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}
    error = error_of(400, json.dumps({"error": numbers}).encode(), None)
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens) == (9, 8)
    busy = error_of(503, b"", 9)
    assert isinstance(busy, Overloaded)
    assert busy.retry_after_seconds == 9
    assert len(error_of(400, b"x" * 10_000, None).message) < 400
    assert isinstance(error_of(400, b"[" * 60_000, None), InvalidRequest)


def test_the_context_is_read_from_lists_of_models() -> None:
    vllm = {"data": [{"id": "m", "max_model_len": 4096}]}
    llama = {"data": [{"id": "m", "meta": {"n_ctx": 2048}}]}
    assert context_of(json.dumps(vllm).encode(), "m") == 4096
    assert context_of(json.dumps(llama).encode(), "m") == 2048
    for body in (b"", b"[]", b'{"data": [3]}', b'{"data": [{"id": "m", "meta": 3}]}'):
        assert context_of(body, "m") is None
    assert context_of(json.dumps(vllm).encode(), "other") is None
