"""Tool calls and continued answers of the built-in model, with the official SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import Server

pytestmark = pytest.mark.e2e

CITY = {"type": "string", "description": "Name of the city"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {"type": "object", "properties": {"city": CITY}, "required": ["city"]},
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def create(server: Server, messages: list[dict[str, Any]], **options: Any) -> Any:
    fields = {"tools": [WEATHER], "temperature": 0, "max_tokens": 100, **options}
    return server.client().chat.completions.create(
        model="localserve-tiny",
        messages=messages,  # type: ignore[arg-type]
        **fields,
    )


def test_it_calls_a_tool_and_answers_from_the_result(server: Server) -> None:
    choice = create(server, [QUESTION]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    call = choice.message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = {
        "role": "tool",
        "tool_call_id": call.id,
        "content": json.dumps({"temperature": 21, "sky": "sunny"}),
    }
    said = choice.message.model_dump(exclude_none=True)
    answer = create(server, [QUESTION, said, result]).choices[0]
    assert answer.finish_reason == "stop"
    assert "21" in answer.message.content


def test_a_call_is_streamed_with_its_name_first_and_then_its_arguments(server: Server) -> None:
    chunks = [c.choices[0] for c in create(server, [QUESTION], stream=True) if c.choices]
    calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert (calls[0].index, calls[0].function.name) == (0, "get_weather")
    assert calls[0].id
    assert all(call.id is None and call.function.name is None for call in calls[1:])
    arguments = "".join(call.function.arguments for call in calls)
    assert json.loads(arguments) == {"city": "Paris"}
    assert "".join(chunk.delta.content or "" for chunk in chunks) == ""
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


def test_the_sdk_puts_a_streamed_call_together(server: Server) -> None:
    with server.client().chat.completions.stream(
        model="localserve-tiny",
        messages=[QUESTION],  # type: ignore[list-item]
        tools=[WEATHER],  # type: ignore[list-item]
        temperature=0,
    ) as stream:
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls
    assert call is not None
    assert json.loads(call[0].function.arguments) == {"city": "Paris"}


def test_tools_that_must_not_be_called_are_not(server: Server) -> None:
    choice = create(server, [QUESTION], tool_choice="none").choices[0]
    assert choice.message.tool_calls is None
    assert "<tool_call>" not in choice.message.content


def test_an_answer_is_continued_without_what_the_client_has_already(server: Server) -> None:
    asked = {"role": "user", "content": "What is the capital of France?"}
    whole = create(server, [asked], tools=[]).choices[0].message.content
    begun = {"role": "assistant", "content": whole[:8]}
    rest = create(server, [asked, begun], tools=[], extra_body={"continue_final_message": True})
    assert "Paris" in begun["content"] + rest.choices[0].message.content
    assert not rest.choices[0].message.content.startswith(begun["content"])


THINKING = {"chat_template_kwargs": {"enable_thinking": True}}
SUM = {"role": "user", "content": "What is 3 plus 4?"}


def test_it_thinks_apart_from_what_it_says(server: Server) -> None:
    message = create(server, [SUM], tools=[], extra_body=THINKING).choices[0].message
    assert "7" in message.content
    assert "<think>" not in message.content
    assert "3 + 4" in message.reasoning_content
    chunks = create(server, [SUM], tools=[], extra_body=THINKING, stream=True)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert reasoning == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == message.content


def test_it_thinks_in_the_content_on_request(server: Server) -> None:
    inline = {**THINKING, "reasoning_format": "none"}
    message = create(server, [SUM], tools=[], extra_body=inline).choices[0].message
    assert message.content.startswith("<think>")
    assert not hasattr(message, "reasoning_content")


def test_it_thinks_no_longer_than_it_may(server: Server) -> None:
    brief = {**THINKING, "thinking_budget": 4}
    message = create(server, [SUM], tools=[], extra_body=brief).choices[0].message
    free = create(server, [SUM], tools=[], extra_body=THINKING).choices[0].message
    assert 0 < len(message.reasoning_content) < len(free.reasoning_content)
    assert "7" in message.content
