"""Anthropic's messages through the server over a fake backend, with the official SDK and raw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anthropic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.chat import ChatRequest, Message, Tool, ToolCall
from localserve.errors import EngineFailed, Overloaded
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend, Piece, Thought, fake_manager
from tests.server.conftest import Serve, Served, connected

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
QUESTION: Any = {"role": "user", "content": "Where?"}
HELLO: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
LOOK: Any = {"name": "look", "input_schema": {"type": "object"}}


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


def sdk(served: Served, key: str = "none") -> anthropic.AsyncAnthropic:
    url = f"http://127.0.0.1:{served.port}"
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=30)


async def ask(client: anthropic.AsyncAnthropic, *messages: Any, **fields: Any) -> Any:
    return await client.messages.create(
        model="fake", max_tokens=100, messages=list(messages) or [QUESTION], **fields
    )


async def test_the_sdk_gets_an_answer(serve: Serve) -> None:
    async with serve(FakeBackend("It is four.")) as served, sdk(served) as client:
        message = await ask(client)
        assert (message.role, message.model, message.stop_reason) == (
            "assistant",
            "fake",
            "end_turn",
        )
        assert [block.text for block in message.content] == ["It is four."]
        assert (message.usage.input_tokens, message.usage.output_tokens) == (1, 3)
        assert message.usage.cache_read_input_tokens == 0


async def test_the_sdk_streams_calls_and_answers_from_their_results(serve: Serve) -> None:
    backend = FakeBackend(script)
    async with serve(backend) as served, sdk(served) as client:
        async with client.messages.stream(
            model="fake",
            max_tokens=100,
            messages=[QUESTION],
            tools=[LOOK],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream:
            kinds = [event.type async for event in stream]
            message: Any = await stream.get_final_message()
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        thought, first, second = message.content
        assert thought.thinking == "I must look."
        assert (first.name, first.input, second.input) == ("look", {"at": 1}, {})
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens == 4
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"r{number}"}
            for number, call in enumerate((first, second))
        ]
        answer = await ask(
            client,
            QUESTION,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": results},
            tools=[LOOK],
        )
        assert answer.content[0].text == "It is r0 and r1"
    begun, asked = backend.requests
    assert isinstance(begun, ChatRequest)
    assert isinstance(asked, ChatRequest)
    assert begun.reasoning_tokens == 1024
    assert asked.tools == (Tool("look", None, {"type": "object"}),)
    assert [call.id for call in asked.messages[1].tool_calls] == ["a1", "a2"]
    assert asked.messages[1].reasoning == "I must look."


async def test_the_sdk_counts_tokens(serve: Serve) -> None:
    backend = FakeBackend(context_tokens=2)
    async with serve(backend) as served, sdk(served) as client:
        count = await client.messages.count_tokens(
            model="fake",
            system="You count.",
            messages=[{"role": "user", "content": "one two three"}],
        )
    assert count.input_tokens == 5, "also of what is too long for the context"


async def test_a_stop_sequence_is_named(call: Serve) -> None:
    async with call(FakeBackend("one two three")) as served:
        body = HELLO | {"stop_sequences": [" three"]}
        answer = (await served.client.post(MESSAGES, json=body)).json()
    assert answer["content"] == [{"type": "text", "text": "one two"}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", " three")


async def test_the_routes_answer_without_v1_and_with_what_is_behind_a_question_mark(
    call: Serve,
) -> None:
    async with call() as served:
        for path in ("/messages", "/v1/messages?beta=true", "//v1/messages/"):
            assert (await served.client.post(path, json=HELLO)).status_code == 200
        answer = await served.client.post(COUNT + "?beta=true", json=HELLO)
        assert answer.json() == {"input_tokens": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_overflow_is_answered_before_any_stream(call: Serve, stream: bool) -> None:
    async with call(FakeBackend(context_tokens=2)) as served:
        body = {"messages": [{"role": "user", "content": "one two three"}], "stream": stream}
        response = await served.client.post(MESSAGES, json=body)
    assert response.status_code == 400
    assert response.json()["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 3 tokens > 2 maximum",
    }


async def test_what_fails_in_mid_stream_is_an_error_event(call: Serve) -> None:
    backend = FakeBackend("one two three", failure=EngineFailed("It stopped."), failure_after=2)
    async with call(backend) as served:
        response = await served.client.post(MESSAGES, json=HELLO | {"stream": True})
        assert response.status_code == 200
        assert response.text.endswith(
            'event: error\ndata: {"type": "error", "error": '
            '{"type": "overloaded_error", "message": "It stopped."}}\n\n'
        )
        assert "message_stop" not in response.text
        assert served.records[0].error == "engine_failed"


async def test_silence_is_filled_with_pings(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=0.5)
    options = {"keepalive_seconds": 0.1, "arguments": {"headers_after_seconds": 0.1}}
    async with serve(backend, **options) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True}, MESSAGES)
        before = await connection.read_until(b"message_start")
        assert before.count(b'event: ping\ndata: {"type": "ping"}\n\n') >= 2
        await connection.read_until(b"event: message_stop")


async def test_whoever_refuses_speaks_the_dialect(call: Serve, tmp_path: Path) -> None:
    secret = KeyStore(tmp_path / "keys.sqlite").create("k", now=0.0, models=["fake"]).secret
    headers = {"x-api-key": secret}
    async with call(data_dir=tmp_path, max_body_bytes=1000) as served:

        async def refused(path: str, body: Any = HELLO, method: str = "POST", **more: str) -> Any:
            response = await served.client.request(
                method, path, json=body, headers={**headers, **more}
            )
            answer = response.json()
            assert answer["type"] == "error"
            assert answer["request_id"] == response.headers["x-request-id"]
            assert answer["error"]["message"]
            return response.status_code, answer["error"]["type"]

        for path in (MESSAGES, COUNT, "//v1//messages/"):
            wrong = await refused(path, **{"x-api-key": "wrong"})
            assert wrong == (401, "authentication_error"), path
        assert await refused(MESSAGES, HELLO | {"model": "x"}) == (404, "not_found_error")
        assert await refused(MESSAGES, {}) == (400, "invalid_request_error")
        assert await refused(MESSAGES, method="GET") == (405, "invalid_request_error")
        assert await refused(f"{MESSAGES}/batches") == (404, "not_found_error")
        assert await refused(MESSAGES, "x" * 1000) == (413, "request_too_large")
        cross = {"origin": "https://elsewhere.example"}
        assert await refused(MESSAGES, **cross) == (403, "permission_error")
        other = await served.client.post("/v1/chat/completions", headers={"x-api-key": "wrong"})
        assert other.json()["error"]["code"] == "invalid_api_key"


async def test_limits_are_told_in_the_dialect_and_counting_costs_no_tokens(call: Serve) -> None:
    async with call(tokens_per_minute=600) as served:
        for _ in range(3):
            answer = await served.client.post(COUNT, json=HELLO | {"max_tokens": 600})
            assert answer.headers["x-ratelimit-remaining-tokens"] == "600"
    async with call(requests_per_minute=1) as served:
        assert (await served.client.post(MESSAGES, json=HELLO)).status_code == 200
        refused = await served.client.post(COUNT, json=HELLO)
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_succeed_later_is_a_529_that_says_when(call: Serve, stream: bool) -> None:
    failure = Overloaded("64 requests wait already.", retry_after_seconds=7)
    async with call(FakeBackend(failure=failure)) as served:
        for path in (MESSAGES, COUNT):
            response = await served.client.post(path, json=HELLO | {"stream": stream})
            assert response.status_code == 529
            assert response.headers["retry-after"] == "7"
            assert response.json()["error"]["type"] == "overloaded_error"


async def test_the_sdk_knows_the_errors(serve: Serve) -> None:
    manager = fake_manager(FakeBackend(failure=Overloaded("Full.")))
    async with serve(manager=manager) as served, sdk(served) as client:
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(model="x", max_tokens=1, messages=[QUESTION])
        image = {"type": "image", "source": {"type": "url", "url": "https://x.example/x.png"}}
        with pytest.raises(anthropic.BadRequestError, match="is of type 'image'"):
            await ask(client, {"role": "user", "content": [image]})
        with pytest.raises(anthropic.InternalServerError) as full:
            await ask(client)
        assert full.value.status_code == 529


async def test_a_bug_is_a_500_in_the_dialect(call: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with call(FakeBackend(failure=RuntimeError("a secret"))) as served:
        response = await served.client.post(MESSAGES, json=HELLO)
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "api_error"
        assert "secret" not in response.text


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
KEYS = [
    "type", "text", "thinking", "id", "name", "input", "tool_use_id", "content", "is_error", "role",
    "source", "budget_tokens", "effort", "format", "input_schema",
]  # fmt: skip
WORDS = st.sampled_from(
    ["text", "thinking", "tool_use", "tool_result", "image", "auto", "any", "enabled", "a1", "user"]
)
ANYTHING = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=10,
)
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"type": WORDS}, optional={key: st.text(max_size=5) | ANYTHING for key in KEYS[1:9]}
    ),
    max_size=3,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.text(max_size=9) | BLOCKS,
        }
    ),
    max_size=4,
)
FIELDS = [
    "model", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p", "top_k",
    "tools", "tool_choice", "thinking", "output_config", "metadata", "mcp_servers",
]  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"messages": TURNS | ANYTHING}, optional=dict.fromkeys(FIELDS, ANYTHING)
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES, path=st.sampled_from([MESSAGES, COUNT]))
async def test_no_body_is_the_servers_fault(call: Serve, body: Any, path: str) -> None:
    async with call() as served:
        response = await served.client.post(path, content=json.dumps(body).encode())
        assert response.status_code in (200, 400, 404)
        if response.status_code != 200:
            assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"messages": ["\\ud800"]}'],
    ids=range(8),
)
async def test_what_is_no_request_is_the_clients_fault(call: Serve, body: bytes) -> None:
    async with call() as served:
        for path in (MESSAGES, COUNT):
            response = await served.client.post(path, content=body)
            assert response.status_code == 400
            assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("depth", [100, 400, 100_000])
async def test_nested_schemas_and_arguments_are_read_or_refused(call: Serve, depth: int) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    tool = f'{{"name": "look", "input_schema": {nested}}}'
    use = f'{{"type": "tool_use", "id": "a", "name": "look", "input": {nested}}}'
    result = '{"type": "tool_result", "tool_use_id": "a"}'
    turns = (
        f'{{"role": "assistant", "content": [{use}]}}, {{"role": "user", "content": [{result}]}}'
    )
    body = f'{{"messages": [{{"role": "user", "content": "x"}}, {turns}], "tools": [{tool}]}}'
    async with call() as served:
        response = await served.client.post(MESSAGES, content=body.encode())
        assert response.status_code == (200 if depth == 100 else 400)
