"""Answers as Ollama's clients read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    ChatRequest,
    Completed,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.ollama import Answer, Asked, ChatAnswer, GenerateAnswer
from localserve.errors import EngineFailed


@dataclass(frozen=True)
class Clock:
    elapsed_ms: float = 1500.0
    load_ms: float = 250.0


ASKED: Asked[ChatRequest] = Asked(ChatRequest("tiny", ()), "tiny:latest", True, False, Clock())


def end(reason: FinishReason = "stop", tokens: int = 5) -> list[ChatEvent]:
    timings = Timings(queue_ms=1.0, prompt_ms=20.0, answer_ms=80.0, timed_tokens=tokens - 1)
    return [Finished(0, reason), Completed(Usage(7, tokens, cached_tokens=3), timings)]


def lines_of(answer: Answer, *portions: Sequence[ChatEvent]) -> list[Any]:
    text = "".join(answer.stream(portion) for portion in portions)
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def whole(form: type[Answer], *events: ChatEvent) -> Any:
    return json.loads(form(ASKED).body([Accepted("tiny", 7), *events]))


def test_a_chat_as_a_stream() -> None:
    answer = ChatAnswer(ASKED)
    first, second, last = lines_of(
        answer,
        [Accepted("tiny", 7)],
        [TextDelta(0, "Hel"), TextDelta(0, "lo")],
        [TextDelta(0, " you")],
        end(),
    )
    assert first["message"] == {"role": "assistant", "content": "Hello"}
    assert second["message"] == {"role": "assistant", "content": " you"}
    assert (first["model"], first["done"]) == ("tiny:latest", False)
    assert first["created_at"].endswith("Z")
    assert last["message"] == {"role": "assistant", "content": ""}
    assert {key: last[key] for key in last if key not in ("model", "created_at", "message")} == {
        "done": True,
        "done_reason": "stop",
        "total_duration": 1_500_000_000,
        "load_duration": 250_000_000,
        "prompt_eval_count": 7,
        "prompt_eval_duration": 20_000_000,
        "eval_count": 5,
        "eval_duration": 100_000_000,
    }


def test_a_chat_as_a_whole() -> None:
    answer = whole(ChatAnswer, TextDelta(0, "Hel"), TextDelta(0, "lo"), *end("length"))
    assert answer["message"] == {"role": "assistant", "content": "Hello"}
    assert (answer["done"], answer["done_reason"]) == (True, "length")
    assert answer["eval_count"] == 5


def test_the_rate_that_clients_compute_is_the_measured_one() -> None:
    answer = whole(ChatAnswer, TextDelta(0, "a"), *end(tokens=5))
    assert answer["eval_count"] / answer["eval_duration"] * 1e9 == pytest.approx(4 / 0.080)
    single = whole(ChatAnswer, TextDelta(0, "a"), *end(tokens=1))
    assert single["eval_duration"] >= 1


def test_thinking_stands_apart() -> None:
    events = [ReasoningDelta(0, "Hm"), ReasoningDelta(0, "m."), TextDelta(0, "Yes"), *end()]
    thought, said, _ = lines_of(ChatAnswer(ASKED), [Accepted("tiny", 7), *events])
    assert thought["message"] == {"role": "assistant", "content": "", "thinking": "Hmm."}
    assert said["message"] == {"role": "assistant", "content": "Yes"}
    message = whole(ChatAnswer, *events)["message"]
    assert message == {"role": "assistant", "content": "Yes", "thinking": "Hmm."}
    generated = whole(GenerateAnswer, *events)
    assert (generated["response"], generated["thinking"]) == ("Yes", "Hmm.")


def test_calls_come_whole_with_arguments_as_an_object() -> None:
    events: list[ChatEvent] = [
        ToolCallBegun(0, 0, "abc", "f"),
        ArgumentsDelta(0, 0, '{"a": '),
        ArgumentsDelta(0, 0, "1}"),
        ToolCallBegun(0, 1, "def", "g"),
        *end("tool_calls"),
    ]
    calls = [
        {"id": "abc", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
        {"id": "def", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    first, second, last = lines_of(ChatAnswer(ASKED), *([event] for event in events))
    assert first["message"]["tool_calls"] == calls[:1]
    assert second["message"]["tool_calls"] == calls[1:]
    assert last["done_reason"] == "stop"
    assert whole(ChatAnswer, *events)["message"]["tool_calls"] == calls


@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "NaN", '{"a": NaN}', "[" * 100_000])
def test_a_call_whose_arguments_are_no_object_is_not_lost(arguments: str) -> None:
    events = [ToolCallBegun(0, 0, "abc", "f"), ArgumentsDelta(0, 0, arguments), *end("length")]
    message = whole(ChatAnswer, *events)["message"]
    assert message["content"] == f'{{"name": "f", "arguments": {arguments}'
    assert "tool_calls" not in message


def test_a_completion() -> None:
    answer = GenerateAnswer(ASKED)
    first, last = lines_of(answer, [Accepted("tiny", 7), TextDelta(0, "Hello")], end())
    assert (first["response"], first["done"]) == ("Hello", False)
    assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")
    assert whole(GenerateAnswer, TextDelta(0, "Hello"), *end())["response"] == "Hello"


def test_no_separator_of_unicode_ends_a_line() -> None:
    text = "a\u2028b\x85c\ud800"
    answer = ChatAnswer(ASKED).stream([Accepted("tiny", 7), TextDelta(0, text)])
    assert answer.isascii()
    assert json.loads(answer)["message"]["content"] == text


def test_log_probabilities() -> None:
    top = TokenLogprob(2, "ho", b"ho", float("-inf"))
    token = TokenLogprob(1, "hi", b"hi", -0.5, (top,))
    answer = whole(ChatAnswer, TextDelta(0, "hi", (token,)), *end())
    assert answer["logprobs"] == [
        {
            "token": "hi",
            "logprob": -0.5,
            "bytes": [104, 105],
            "top_logprobs": [{"token": "ho", "logprob": -9999.0, "bytes": [104, 111]}],
        }
    ]


def test_a_sign_of_life_is_a_line_without_text() -> None:
    line = json.loads(ChatAnswer(ASKED).keepalive())
    assert line["message"] == {"role": "assistant", "content": ""}
    assert line["done"] is False


def test_a_stream_that_fails_ends_with_an_error() -> None:
    line = ChatAnswer(ASKED).stream_error(EngineFailed("It stopped."))
    assert json.loads(line) == {"error": "It stopped."}
    assert line.endswith("\n")


def test_an_answer_to_nothing() -> None:
    loaded = ChatAnswer.nothing("tiny", "load")
    assert loaded["message"] == {"role": "assistant", "content": ""}
    assert (loaded["done"], loaded["done_reason"], loaded["model"]) == (True, "load", "tiny")
    assert GenerateAnswer.nothing("tiny", "unload")["response"] == ""


def test_without_a_name_the_answer_has_the_models() -> None:
    asked: Asked[ChatRequest] = Asked(ChatRequest("", ()), "", True, False)
    (line,) = lines_of(ChatAnswer(asked), [Accepted("tiny", 7), TextDelta(0, "a")])
    assert line["model"] == "tiny"
