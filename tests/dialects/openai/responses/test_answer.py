"""From events to items, streamed and whole, and what is kept of them."""

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
    ToolCall,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.openai.responses import Given, ResponseAnswer, parse_response
from localserve.dialects.openai.responses.items import Called, Said, Thought
from localserve.errors import ContextOverflow, EngineFailed, InvalidRequest, LocalserveError

DONE = Completed(Usage(10, 4, cached_tokens=6), Timings())

TURN = [
    ReasoningDelta(0, "I must "),
    ReasoningDelta(0, "look."),
    TextDelta(0, ""),
    TextDelta(0, "Well"),
    ToolCallBegun(0, 0, "a1", "look"),
    ArgumentsDelta(0, 0, '{"at"'),
    ArgumentsDelta(0, 0, ": 1}"),
    ToolCallBegun(0, 1, "a2", "go"),
    ArgumentsDelta(0, 1, "{}"),
]


class Rig:
    """An answer with all that it has sent and kept."""

    def __init__(self, **fields: object) -> None:
        asked = parse_response(json.dumps({"input": "Hello", "model": "asked", **fields}).encode())
        self.kept: list[Given] = []
        self.answer = ResponseAnswer(asked.after((), {}.get, scope=""), self.kept.append)

    def streamed(self, steps: Sequence[ChatEvent]) -> list[Any]:
        return read("".join(self.answer.stream([step]) for step in steps))

    def whole(self, steps: Sequence[ChatEvent]) -> Any:
        return json.loads(self.answer.body(steps))


def read(text: str) -> list[Any]:
    """The data of all events; each is named by its type."""
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        fields = json.loads(data.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        found.append(fields)
    return found


def events(*middle: ChatEvent, reason: FinishReason = "stop") -> list[ChatEvent]:
    return [Accepted("m", 10), *middle, Finished(0, reason), DONE]


def test_a_stream_of_text() -> None:
    rig = Rig(instructions="Be brief.", max_output_tokens=9)
    found = rig.streamed(events(TextDelta(0, "He"), TextDelta(0, "y")))
    assert [one["sequence_number"] for one in found] == list(range(10))
    created, going_on, added, part, first, second, text, whole_part, done, completed = found
    assert created["type"] == "response.created"
    assert going_on == created | {"type": "response.in_progress", "sequence_number": 1}
    response = created["response"]
    assert response["output"] == []
    assert (response["status"], response["model"]) == ("in_progress", "m")
    assert (response["instructions"], response["max_output_tokens"]) == ("Be brief.", 9)
    item = {"id": added["item"]["id"], "type": "message", "role": "assistant"}
    assert added["type"] == "response.output_item.added"
    assert added["item"] == item | {"status": "in_progress", "content": []}
    nothing = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert part["type"] == "response.content_part.added"
    assert part["part"] == nothing
    assert first["type"] == second["type"] == "response.output_text.delta"
    assert first["delta"] + second["delta"] == text["text"] == "Hey"
    assert text["type"] == "response.output_text.done"
    assert whole_part["type"] == "response.content_part.done"
    assert whole_part["part"] == nothing | {"text": "Hey"}
    assert done["type"] == "response.output_item.done"
    assert done["item"] == item | {"status": "completed", "content": [whole_part["part"]]}
    for one in (part, first, second, text, whole_part):
        assert (one["item_id"], one["output_index"], one["content_index"]) == (item["id"], 0, 0)
    assert completed["type"] == "response.completed"
    assert completed["response"] == response | {
        "status": "completed",
        "output": [done["item"]],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 6},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 14,
        },
    }


def test_a_stream_of_reasoning_words_and_calls() -> None:
    found = Rig().streamed(events(*TURN, reason="tool_calls"))
    kinds = [(one["type"].removeprefix("response."), one["output_index"]) for one in found[2:-1]]
    assert kinds == [
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("output_item.added", 3),
        ("function_call_arguments.delta", 3),
        ("function_call_arguments.done", 3),
        ("output_item.done", 3),
    ]
    begun = [one["item"] for one in found if one["type"] == "response.output_item.added"]
    done = [one["item"] for one in found if one["type"] == "response.output_item.done"]
    assert [one["id"] for one in begun] == [one["id"] for one in done]
    assert begun[0]["summary"] == []
    assert begun[2]["arguments"] == ""
    assert (begun[2]["call_id"], begun[2]["name"]) == ("a1", "look")
    arguments = [one for one in found if one["type"].endswith("arguments.done")]
    assert [(one["name"], one["arguments"]) for one in arguments] == [
        ("look", '{"at": 1}'),
        ("go", "{}"),
    ]
    assert found[-1]["response"]["output"] == done


def test_a_whole_response_is_what_the_stream_ends_with() -> None:
    steps = events(*TURN, reason="tool_calls")
    rig = Rig(metadata={"a": "b"})
    whole = rig.whole(steps)
    assert [one["type"] for one in whole["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert whole["output"][0]["summary"] == [{"type": "summary_text", "text": "I must look."}]
    assert whole["id"] == rig.answer.id
    assert whole["id"].startswith("resp_")
    assert whole["metadata"] == {"a": "b"}
    last = Rig(metadata={"a": "b"}).streamed(steps)[-1]["response"]

    def without_ids(response: Any) -> Any:
        output = [{**item, "id": ""} for item in response["output"]]
        return {**response, "id": "", "created_at": 0, "output": output}

    assert without_ids(whole) == without_ids(last)


def test_an_answer_that_is_cut_off_is_incomplete_and_the_stream_completed() -> None:
    *_, done, completed = Rig().streamed(events(TextDelta(0, "He"), reason="length"))
    assert done["item"]["status"] == "incomplete"
    assert completed["type"] == "response.completed"
    assert completed["response"]["status"] == "incomplete"
    assert completed["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_an_answer_may_be_empty() -> None:
    assert Rig().whole(events())["output"] == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_given_is_kept_once_it_is_whole(stream: bool) -> None:
    rig = Rig()
    steps = events(*TURN, reason="tool_calls")
    if stream:
        rig.streamed(steps[:-1])
        assert rig.kept == []
        rig.streamed(steps[-1:])
    else:
        rig.whole(steps)
    (given,) = rig.kept
    output = json.loads(given.body)["output"]
    ids = [item["id"] for item in output]
    assert given.id == rig.answer.id
    assert given.output == (
        Thought(ids[0], "I must look."),
        Said(ids[1], "assistant", "Well"),
        Called(ids[2], ToolCall("a1", "look", '{"at": 1}')),
        Called(ids[3], ToolCall("a2", "go", "{}")),
    )
    assert given.items == (Said("", "user", "Hello"), *given.output)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextOverflow(40, 32), "context_length_exceeded"),
        (InvalidRequest("No."), "invalid_prompt"),
        (EngineFailed("It stopped."), "server_error"),
    ],
)
def test_a_stream_that_fails_says_so(error: LocalserveError, code: str) -> None:
    rig = Rig()
    found = read(rig.answer.stream_error(error))
    assert [one["type"] for one in found] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]
    assert found[0]["response"]["model"] == "asked"
    assert found[-1]["response"]["status"] == "failed"
    assert found[-1]["response"]["error"] == {"code": code, "message": str(error)}
    assert rig.kept == []


def test_a_stream_that_fails_in_the_middle_has_what_was_whole() -> None:
    rig = Rig()
    before = rig.streamed([Accepted("m", 10), *TURN[:5]])
    (failed,) = read(rig.answer.stream_error(EngineFailed("It stopped.")))
    assert failed["sequence_number"] == len(before)
    assert [one["type"] for one in failed["response"]["output"]] == ["reasoning", "message"]


def test_silence_is_filled_with_events() -> None:
    rig = Rig()
    created, first = read(rig.answer.keepalive())
    (second,) = read(rig.answer.keepalive())
    assert created["type"] == "response.created"
    assert first["type"] == second["type"] == "response.in_progress"
    rest = rig.streamed(events(TextDelta(0, "Hey")))
    assert rest[0]["type"] == "response.output_item.added"
    assert [one["sequence_number"] for one in rest] == list(range(3, 3 + len(rest)))


def test_events_are_ascii_and_one_line_each() -> None:
    text = Rig().answer.stream(events(TextDelta(0, "a\n\u2028\u00e9\U0001f600")))
    assert text.isascii()
    assert all(block.count("\n") == 1 for block in text.split("\n\n")[:-1])
