"""Tool calls and reasoning through the server, with the official SDK against a fake backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai
import pytest

from localserve.chat import ChatRequest, Message, Tool, ToolCall
from localserve.testing import FakeBackend, Piece, Thought
from tests.server.conftest import Serve

LOOK: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
QUESTION: Any = {"role": "user", "content": "Where?"}


def script(messages: Sequence[Message]) -> list[Piece]:
    """Calls a tool twice, then says what its results were."""
    results = [message.content or "" for message in messages if message.role == "tool"]
    if results:
        return ["It ", "is ", " and ".join(results)]
    return [
        Thought("I must "),
        Thought("look."),
        ToolCall("a1", "look", '{"at": 1}'),
        ToolCall("a2", "look", "{}"),
    ]


async def test_the_sdk_streams_calls_and_answers_from_their_results(serve: Serve) -> None:
    backend = FakeBackend(script)
    async with serve(backend) as served:
        url = f"http://127.0.0.1:{served.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            async with client.chat.completions.stream(
                model="fake", messages=[QUESTION], tools=[LOOK], parallel_tool_calls=True
            ) as stream:
                final = await stream.get_final_completion()
            message = final.choices[0].message
            calls = message.tool_calls or []
            assert final.choices[0].finish_reason == "tool_calls"
            assert [call.function.arguments for call in calls] == ['{"at": 1}', "{}"]
            results: list[Any] = [
                {"role": "tool", "tool_call_id": call.id, "content": f"r{number}"}
                for number, call in enumerate(calls)
            ]
            said: Any = message.model_dump(exclude_none=True)
            answer = await client.chat.completions.create(
                model="fake", messages=[QUESTION, said, *results], tools=[LOOK]
            )
    assert answer.choices[0].message.content == "It is r0 and r1"
    asked = backend.requests[-1]
    assert isinstance(asked, ChatRequest)
    assert asked.tools == (Tool("look", None, {"type": "object"}),)
    assert [call.id for call in asked.messages[1].tool_calls] == ["a1", "a2"]
    assert asked.messages[1].reasoning == "I must look."


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
async def test_a_call_that_is_demanded_reaches_the_backend(call: Serve, choice: object) -> None:
    backend = FakeBackend(script)
    async with call(backend) as served:
        body = {"messages": [QUESTION], "tools": [LOOK], "tool_choice": choice}
        answer = await served.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    asked = backend.requests[-1]
    assert isinstance(asked, ChatRequest)
    assert asked.calls.required
