"""OpenAI's responses through the server, with the official SDK and raw, against a fake backend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.chat import ChatRequest, Message, Tool, ToolCall
from localserve.errors import EngineFailed, Overloaded
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend, Piece, Thought
from tests.server.conftest import Serve, Served, connected

RESPONSES = "/v1/responses"
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


def script(messages: Sequence[Message]) -> list[Piece]:
    """Calls a tool twice, then says what its results were, then how often it was asked."""
    results = [message.content or "" for message in messages if message.role == "tool"]
    questions = sum(message.role == "user" for message in messages)
    if questions > 1:
        return [f"You asked {questions} times."]
    if results:
        return ["It ", "is ", " and ".join(results)]
    return [
        Thought("I must "),
        Thought("look."),
        ToolCall("a1", "look", '{"at": 1}'),
        ToolCall("a2", "look", "{}"),
    ]


def sdk(served: Served) -> openai.AsyncOpenAI:
    url = f"http://127.0.0.1:{served.port}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)


def asked(backend: FakeBackend) -> ChatRequest:
    request = backend.requests[-1]
    assert isinstance(request, ChatRequest)
    return request


async def test_the_sdk_gets_an_answer(serve: Serve) -> None:
    async with serve(FakeBackend("It is four.")) as served, sdk(served) as client:
        response = await client.responses.create(model="fake", input="2 + 2?")
        assert response.output_text == "It is four."
        assert (response.status, response.model, response.error) == ("completed", "fake", None)
        assert response.usage is not None
        assert response.usage.total_tokens == 6


async def test_the_sdk_streams_calls_and_goes_on_from_the_response(serve: Serve) -> None:
    backend = FakeBackend(script)
    async with serve(backend) as served, sdk(served) as client:
        async with client.responses.stream(
            model="fake", input="Where?", tools=[LOOK], instructions="Be brief."
        ) as stream:
            numbers = [event.sequence_number async for event in stream]
            response: Any = await stream.get_final_response()
        assert numbers == list(range(len(numbers)))
        thought, *calls = response.output
        assert thought.summary[0].text == "I must look."
        assert [call.arguments for call in calls] == ['{"at": 1}', "{}"]
        outputs: list[Any] = [
            {"type": "function_call_output", "call_id": call.call_id, "output": f"r{number}"}
            for number, call in enumerate(calls)
        ]
        second = await client.responses.create(
            model="fake", input=outputs, previous_response_id=response.id, tools=[LOOK]
        )
        assert second.output_text == "It is r0 and r1"
        assert second.previous_response_id == response.id
        request = asked(backend)
        assert request.tools == (Tool("look", None, {"type": "object"}),)
        assert [message.role for message in request.messages] == [
            "user", "assistant", "tool", "tool",
        ]  # fmt: skip
        assert request.messages[1].reasoning == "I must look."
        third = await client.responses.create(
            model="fake", input="And?", previous_response_id=second.id
        )
        assert third.output_text == "You asked 2 times."


async def test_the_sdk_sends_items_back(serve: Serve) -> None:
    backend = FakeBackend(script)
    async with serve(backend) as served, sdk(served) as client:
        first: Any = await client.responses.create(
            model="fake", input="Where?", tools=[LOOK], store=False
        )
        outputs = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "r"}
            for call in first.output[1:]
        ]
        items = [item.model_dump() for item in first.output]
        given: Any = [{"role": "user", "content": "Where?"}, *items, *outputs]
        second = await client.responses.create(model="fake", input=given, tools=[LOOK])
        assert second.output_text == "It is r and r"
        assert asked(backend).messages[1].reasoning == "I must look."


async def test_a_response_is_read_again_and_deleted(serve: Serve) -> None:
    async with serve(FakeBackend("It is four.")) as served, sdk(served) as client:
        response = await client.responses.create(model="fake", input="2 + 2?", metadata={"a": "b"})
        assert await client.responses.retrieve(response.id) == response
        with pytest.raises(openai.BadRequestError, match="not streamed again"):
            await client.responses.retrieve(response.id, stream=True)
        await client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.delete(response.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="fake", input="x", previous_response_id=response.id)
        assert refused.value.code == "previous_response_not_found"
        assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_to_be_stored_is_not(call: Serve, stream: bool) -> None:
    async with call() as served:
        for store, status in ((False, 404), (True, 200)):
            body = {"input": "Hello", "store": store, "stream": stream}
            text = (await served.client.post(RESPONSES, json=body)).text
            response_id = text.partition('"id":"')[2].partition('"')[0]
            assert response_id.startswith("resp_")
            read = await served.client.get(f"{RESPONSES}/{response_id}")
            assert read.status_code == status


async def test_a_key_sees_its_own_responses_only(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    mine, other = ({"x-api-key": store.create(name, now=0.0).secret} for name in ("a", "b"))
    async with call(data_dir=tmp_path) as served:
        answer = await served.client.post(RESPONSES, json={"input": "Hello"}, headers=mine)
        path = f"/responses/{answer.json()['id']}"
        on = {"input": "x", "previous_response_id": answer.json()["id"]}
        item = [{"type": "item_reference", "id": answer.json()["output"][0]["id"]}]
        for headers, status, refused in ((other, 404, 400), (mine, 200, 200)):
            assert (await served.client.get(path, headers=headers)).status_code == status
            for body in (on, {"input": item}):
                again = await served.client.post(RESPONSES, json=body, headers=headers)
                assert again.status_code == refused
        assert (await served.client.delete(path, headers=other)).status_code == 404
        assert (await served.client.delete(path, headers=mine)).json()["deleted"] is True


async def test_an_overflow_is_an_event_of_a_stream_and_a_400_without(call: Serve) -> None:
    async with call(FakeBackend(context_tokens=2)) as served:
        whole = await served.client.post(RESPONSES, json={"input": "one two three"})
        assert whole.status_code == 400
        assert whole.json()["error"]["code"] == "context_length_exceeded"
        served.records.clear()
        body = {"input": "one two three", "stream": True}
        stream = await served.client.post(RESPONSES, json=body)
        assert stream.status_code == 200
        last = json.loads(stream.text.strip().rpartition("data: ")[2])
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"] == "context_length_exceeded"
        assert "event: response.created" in stream.text
        assert served.records[0].error == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
async def test_other_failures_have_statuses_of_their_own(call: Serve, stream: bool) -> None:
    async with call(FakeBackend(failure=Overloaded("Full."))) as served:
        for body, status in ((b"{", 400), (b'{"input": 1}', 422)):
            assert (await served.client.post(RESPONSES, content=body)).status_code == status
        body_of = {"input": "x", "stream": stream}
        assert (await served.client.post(RESPONSES, json=body_of)).status_code == 503
        unknown = await served.client.post(RESPONSES, json=body_of | {"model": "x"})
        assert unknown.status_code == 404


async def test_what_fails_in_mid_stream_ends_it(call: Serve) -> None:
    backend = FakeBackend("one two three", failure=EngineFailed("It stopped."), failure_after=2)
    async with call(backend) as served:
        response = await served.client.post(RESPONSES, json={"input": "x", "stream": True})
        assert "event: response.failed\n" in response.text
        assert "It stopped." in response.text
        assert "response.completed" not in response.text


async def test_silence_is_filled_with_events(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=0.5)
    options = {"keepalive_seconds": 0.1, "arguments": {"headers_after_seconds": 0.1}}
    async with serve(backend, **options) as served, connected(served) as connection:
        await connection.post({"input": "x", "stream": True}, RESPONSES)
        before = await connection.read_until(b"output_item.added")
        assert before.count(b"event: response.created") == 1
        assert before.count(b"event: response.in_progress") >= 2
        await connection.read_until(b"event: response.completed")


async def test_a_client_that_only_loads_a_model_is_answered(call: Serve) -> None:
    async with call() as served:
        body = {"input": "", "max_output_tokens": 1}
        answer = (await served.client.post("/responses", json=body)).json()
        assert answer["status"] == "incomplete"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
KEYS = [
    "type", "role", "content", "id", "call_id", "name", "arguments", "output", "summary", "text",
    "refusal", "format", "effort", "mode", "tools",
]  # fmt: skip
WORDS = st.sampled_from(
    [
        "message", "reasoning", "function_call", "function_call_output", "item_reference", "user",
        "assistant", "input_text", "output_text", "function", "auto", "none", "allowed_tools", "a1",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=10,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"type": WORDS},
        optional={"role": WORDS} | {key: st.text(max_size=5) | ANYTHING for key in KEYS[2:9]},
    ),
    max_size=4,
)
FIELDS = [
    "model", "instructions", "previous_response_id", "store", "stream", "max_output_tokens",
    "temperature", "top_p", "tools", "tool_choice", "text", "include", "reasoning", "metadata",
    "truncation", "background", "parallel_tool_calls", "thinking", "stop", "n", "conversation",
]  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"input": st.text() | ITEMS | ANYTHING}, optional=dict.fromkeys(FIELDS, ANYTHING)
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES)
async def test_no_body_is_the_servers_fault(call: Serve, body: Any) -> None:
    async with call() as served:
        response = await served.client.post(RESPONSES, content=json.dumps(body).encode())
        assert response.status_code in (200, 400, 404, 422)
        if response.status_code != 200:
            assert response.json()["error"]["message"]
