"""The endpoint that answers, over a fake backend and without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.errors import (
    EngineFailed,
    LocalserveError,
    MemoryBusy,
    ModelTooLarge,
    ModelUnusable,
    OutOfMemory,
    Overloaded,
)
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import HELLO, Serve

CHAT = "/v1/chat/completions"


def events_of(response: httpx2.Response) -> list[Any]:
    """The data of a stream; comments are left out."""
    blocks = response.text.split("\n\n")
    assert blocks.pop() == ""
    data = [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]
    return [json.loads(one) if one != "[DONE]" else one for one in data]


def text_of(events: list[Any]) -> str:
    chunks = [event for event in events if event != "[DONE]" and event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


async def test_a_stream_says_the_same_as_a_whole_answer(call: Serve) -> None:
    async with call(FakeBackend("The quick brown fox.")) as served:
        whole = (await served.client.post(CHAT, json=HELLO)).json()
        response = await served.client.post(CHAT, json=HELLO | {"stream": True})
        events = events_of(response)
        assert text_of(events) == whole["choices"][0]["message"]["content"]
        assert events[-1] == "[DONE]"
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert "connection" not in response.headers


async def test_the_request_reaches_the_backend(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        await served.client.post(CHAT, json=HELLO | {"max_tokens": 3, "stop": "x"})
    (request,) = backend.requests
    assert request.generation.max_tokens == 3
    assert request.generation.stop == ("x",)


async def test_several_prompts_and_choices_are_numbered_prompt_by_prompt(call: Serve) -> None:
    backend = FakeBackend(lambda messages: f"to {messages[0].content}")
    async with call(backend) as served:
        body = {"prompt": ["a", "b"], "n": 2, "echo": True}
        answer = (await served.client.post("/v1/completions", json=body)).json()
        texts = [(choice["index"], choice["text"]) for choice in answer["choices"]]
        assert texts == [(0, "ato a"), (1, "ato a"), (2, "bto b"), (3, "bto b")]


@pytest.mark.parametrize(
    ("path", "asked"), [(CHAT, HELLO), ("/v1/completions", {"prompt": "Hello"})]
)
async def test_no_tokens_asked_for_are_an_empty_answer(
    call: Serve, path: str, asked: dict[str, Any]
) -> None:
    async with call() as served:
        body = asked | {"max_tokens": 0}
        answer = (await served.client.post(path, json=body)).json()
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "length"
        assert choice.get("text", choice.get("message", {}).get("content")) == ""
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == 1
        events = events_of(await served.client.post(path, json=body | {"stream": True}))
        assert events[-2]["choices"][0]["finish_reason"] == "length"
        assert events[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_overflow_is_answered_before_any_stream(call: Serve, stream: bool) -> None:
    async with call(FakeBackend(context_tokens=2)) as served:
        body = {"messages": [{"role": "user", "content": "one two three"}], "stream": stream}
        response = await served.client.post(CHAT, json=body)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["type"] == "exceed_context_size_error"
        assert error["code"] == "context_length_exceeded"
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (3, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_answers_503_and_when_to_try_again(call: Serve, stream: bool) -> None:
    failure = Overloaded("64 requests wait already.", retry_after_seconds=7)
    async with call(FakeBackend(failure=failure)) as served:
        response = await served.client.post(CHAT, json=HELLO | {"stream": stream})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "7"
        assert response.json()["type"] == "/errors/overloaded"


async def test_only_so_many_requests_wait_for_a_load(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), load_seconds=0.5, max_waiting=2)
    async with call(manager=manager, ready=False) as served:
        answers = await asyncio.gather(*(served.client.post(CHAT, json=HELLO) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["error"]["code"] == "overloaded"
        assert "2 requests wait" in refused.json()["detail"]
        assert (await served.client.post(CHAT, json=HELLO)).status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (ModelUnusable("The file is cut off."), 400, "invalid_request_error"),
        (ModelTooLarge("It needs 9.1 GiB; there are 7.4 GiB."), 400, "invalid_request_error"),
        (OutOfMemory("Another program took it."), 503, "unavailable_error"),
        (MemoryBusy("Other programs hold 3 GiB."), 503, "unavailable_error"),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_to_be_tried_again_only_if_waiting_helps(
    call: Serve, failure: LocalserveError, status: int, kind: str
) -> None:
    manager = fake_manager(FakeBackend(), failure=failure)
    async with call(manager=manager, ready=False) as served:
        response = await served.client.post(CHAT, json=HELLO)
        error = response.json()["error"]
        assert (response.status_code, error["type"]) == (status, kind)
        assert error["code"] == failure.code
        assert failure.message in error["message"]
        assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize("failure", [EngineFailed("It stopped."), RuntimeError("a secret")])
async def test_a_failure_in_mid_stream_is_an_event_and_there_is_no_done(
    call: Serve, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend("one two three", failure=failure, failure_after=2)
    async with call(backend) as served:
        response = await served.client.post(CHAT, json=HELLO | {"stream": True})
        assert response.status_code == 200
        *before, last = events_of(response)
        assert text_of(before) == "one two"
        assert "[DONE]" not in response.text
        expected = failure.code if isinstance(failure, LocalserveError) else "internal_error"
        assert last["error"]["code"] == expected
        assert "secret" not in response.text
        assert served.records[0].error == expected


async def test_a_bug_is_a_500_without_its_traceback(
    call: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with call(FakeBackend(failure=RuntimeError("a secret"))) as served:
        response = await served.client.post(CHAT, json=HELLO)
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal_error"
        assert "secret" not in response.text
        assert "Traceback" not in response.text
        request_id = response.headers["x-request-id"]
        assert request_id in response.json()["detail"]
        assert f"request {request_id} failed" in caplog.messages
        assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"[]", {}, 422),
        (b"{}", {}, 422),
        (b'{"messages": [{"role": "user", "content": "x"}], "tools": [{}]}', {}, 400),
        (b"{}", {"content-type": "multipart/form-data; boundary=x"}, 415),
        (b'{"messages": []}', {"content-type": "text/plain"}, 422),
    ],
)
async def test_bad_bodies_are_the_clients_fault(
    call: Serve, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with call() as served:
        response = await served.client.post(CHAT, content=content, headers=headers)
        assert response.status_code == status
        assert response.json()["status"] == status
        assert response.headers["x-request-id"] in response.json()["instance"]


async def test_schema_errors_name_their_fields(call: Serve) -> None:
    async with call() as served:
        body = {"messages": [{"role": "robot", "content": "x"}], "n": 0}
        response = await served.client.post(CHAT, json=body)
        assert response.status_code == 422
        fields = {problem["field"]: problem["type"] for problem in response.json()["errors"]}
        assert fields == {"messages.0.role": "literal_error", "n": "greater_than_equal"}


async def test_any_content_type_but_a_form_will_do(call: Serve) -> None:
    async with call() as served:
        response = await served.client.post(
            CHAT, content=json.dumps(HELLO), headers={"content-type": "text/plain"}
        )
        assert response.status_code == 200


async def test_a_body_that_is_too_large_is_refused_by_its_header(call: Serve) -> None:
    async with call(max_body_bytes=100) as served:
        response = await served.client.post(CHAT, content=b" " * 101)
        assert response.status_code == 413
        assert "101 bytes" in response.json()["detail"]


async def test_a_large_body_is_parsed_all_the_same(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        content = "x" * 300_000
        body = {"messages": [{"role": "user", "content": content}]}
        assert (await served.client.post(CHAT, json=body)).status_code == 200


async def test_every_response_has_a_request_id(call: Serve) -> None:
    async with call() as served:
        for response in (
            await served.client.get("/"),
            await served.client.get("/nothing"),
            await served.client.post(CHAT, json=HELLO | {"stream": True}),
            await served.client.post(CHAT, content=b"{"),
        ):
            assert response.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [("abc-123", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("ü", False)],
)
async def test_a_clients_own_request_id_is_kept_if_it_is_fit(
    call: Serve, given_id: str, kept: bool
) -> None:
    async with call() as served:
        response = await served.client.get(
            "/", headers=[(b"x-request-id", given_id.encode("latin-1"))]
        )
        assert (response.headers["x-request-id"] == given_id) is kept


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["user", "assistant", "tool", "text", "none", "auto", "fake"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "name", "1", "function"]), inner
        )
    ),
    max_leaves=12,
)
FIELDS = [
    "model", "messages", "prompt", "stream", "stream_options", "max_tokens", "n", "stop", "seed",
    "temperature", "top_p", "top_k", "logprobs", "top_logprobs", "logit_bias", "tools",
    "tool_choice", "response_format", "guided_json", "grammar", "structured_outputs", "suffix",
    "echo", "best_of", "chat_template_kwargs",
]  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={"content": st.text() | ANYTHING, "tool_calls": ANYTHING, "name": ANYTHING},
    ),
    max_size=4,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=6) | st.fixed_dictionaries(
    {"messages": MESSAGES, "prompt": st.text() | st.lists(st.integers(0, 9))},
    optional=dict.fromkeys(FIELDS[3:], ANYTHING),
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES, path=st.sampled_from([CHAT, "/v1/completions"]))
async def test_no_body_is_the_servers_fault(call: Serve, body: Any, path: str) -> None:
    async with call() as served:
        content = json.dumps(body).encode()
        response = await served.client.post(path, content=content)
        assert response.status_code in (200, 400, 404, 413, 422)
        if response.status_code == 422:
            assert all(problem["message"] for problem in response.json()["errors"])
