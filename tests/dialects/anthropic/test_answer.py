"""From events to content blocks, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.anthropic import MessageAnswer
from localserve.errors import EngineFailed

DONE = Completed(Usage(10, 4, cached_tokens=6), Timings())


def events(
    *middle: ChatEvent, reason: FinishReason = "stop", stop_text: str | None = None
) -> list[ChatEvent]:
    return [Accepted("m", 10), *middle, Finished(0, reason, stop_text), DONE]


def streamed(steps: Sequence[ChatEvent], answer: MessageAnswer | None = None) -> list[Any]:
    """The data of all events; each is named by its type."""
    answer = answer or MessageAnswer()
    found = []
    for block in "".join(answer.stream([step]) for step in steps).split("\n\n")[:-1]:
        name, data = block.split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        found.append(fields)
    return found


def whole(steps: Sequence[ChatEvent]) -> Any:
    return json.loads(MessageAnswer().body(steps))


TURN = [
    ReasoningDelta(0, "I must "),
    ReasoningDelta(0, "look."),
    TextDelta(0, "Well"),
    TextDelta(0, ""),
    ToolCallBegun(0, 0, "a1", "look"),
    ArgumentsDelta(0, 0, '{"at"'),
    ArgumentsDelta(0, 0, ": 1}"),
    ToolCallBegun(0, 1, "a2", "go"),
    ArgumentsDelta(0, 1, "{}"),
]


def test_a_stream_of_text() -> None:
    answer = MessageAnswer()
    first, ping, *rest = streamed(events(TextDelta(0, "He"), TextDelta(0, "y")), answer)
    assert first == {
        "type": "message_start",
        "message": {
            "id": answer.id,
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 0,
            },
        },
    }
    assert ping == {"type": "ping"}
    assert answer.id.startswith("msg_")
    assert rest == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "y"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 6,
                "output_tokens": 4,
            },
        },
        {"type": "message_stop"},
    ]


def test_a_stream_of_thinking_words_and_calls() -> None:
    found = streamed(events(*TURN, reason="tool_calls"))
    assert [(one["type"], one.get("index")) for one in found[2:-2]] == [
        ("content_block_start", 0),
        *[("content_block_delta", 0)] * 3,
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        *[("content_block_delta", 2)] * 2,
        ("content_block_stop", 2),
        ("content_block_start", 3),
        ("content_block_delta", 3),
        ("content_block_stop", 3),
    ]
    begun = [one["content_block"] for one in found if one["type"] == "content_block_start"]
    assert begun == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "a1", "name": "look", "input": {}},
        {"type": "tool_use", "id": "a2", "name": "go", "input": {}},
    ]
    deltas = [one["delta"] for one in found if one["type"] == "content_block_delta"]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "I must "},
        {"type": "thinking_delta", "thinking": "look."},
        {"type": "signature_delta", "signature": "localserve"},
        {"type": "text_delta", "text": "Well"},
        {"type": "input_json_delta", "partial_json": '{"at"'},
        {"type": "input_json_delta", "partial_json": ": 1}"},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_whole_answer() -> None:
    answer = whole(events(*TURN, reason="tool_calls"))
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "I must look.", "signature": "localserve"},
            {"type": "text", "text": "Well"},
            {"type": "tool_use", "id": "a1", "name": "look", "input": {"at": 1}},
            {"type": "tool_use", "id": "a2", "name": "go", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 6,
            "output_tokens": 4,
        },
    }


@pytest.mark.parametrize(
    ("reason", "stop_text", "said"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("length", None, ("max_tokens", None)),
        ("tool_calls", None, ("tool_use", None)),
    ],
)
def test_why_it_ended(
    reason: FinishReason, stop_text: str | None, said: tuple[str, str | None]
) -> None:
    steps = events(TextDelta(0, "x"), reason=reason, stop_text=stop_text)
    answer, delta = whole(steps), streamed(steps)[-2]["delta"]
    assert (answer["stop_reason"], answer["stop_sequence"]) == said
    assert (delta["stop_reason"], delta["stop_sequence"]) == said


def test_an_answer_may_be_empty() -> None:
    assert whole(events())["content"] == []
    assert [one["type"] for one in streamed(events())][2:] == ["message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"path": "a.py", "text": "def', {"path": "a.py", "text": "def"}),
        ('{"path": "a.py", "te', {"path": "a.py"}),
        ("", {}),
        ("[1]", {}),
        ("{'x': 1}", {}),
        ('{"x": NaN}', {}),
    ],
)
def test_of_a_call_that_was_cut_off_there_is_what_came(arguments: str, read: object) -> None:
    call = [ToolCallBegun(0, 0, "a1", "write"), ArgumentsDelta(0, 0, arguments)]
    (block,) = whole(events(*call, reason="length"))["content"]
    assert block["input"] == read


def test_events_are_ascii_and_one_line_each() -> None:
    text = MessageAnswer().stream(events(TextDelta(0, "a\n\u2028\u00e9\U0001f600")))
    assert text.isascii()
    assert all(block.count("\n") == 1 for block in text.split("\n\n")[:-1])


def test_a_stream_that_fails_says_so() -> None:
    text = MessageAnswer().stream_error(EngineFailed("It stopped."))
    assert text.startswith("event: error\ndata: ")
    assert json.loads(text.removeprefix("event: error\ndata: ")) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "It stopped."},
    }


def test_silence_is_filled_with_pings() -> None:
    assert MessageAnswer().keepalive() == 'event: ping\ndata: {"type": "ping"}\n\n'
