"""llama-server's routes and LM Studio's, over a fake backend and without a network."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.chat import CompletionRequest, InfillRequest, Message
from localserve.errors import EngineFailed
from localserve.testing import FakeBackend, ToolCall, fake_manager, fake_spec
from tests.server.conftest import HELLO, Serve, connected, until

AROUND = {"input_prefix": "def f():\n    ", "input_suffix": "\n"}
NATIVE = {
    "/infill": AROUND,
    "/completion": {"prompt": "Hello"},
    "/completions": {"prompt": "Hello"},
    "/v1/completion": {"prompt": "Hello"},
    "/v1/infill": AROUND,
}


def objects_of(response: httpx2.Response) -> list[Any]:
    """The objects of a stream; there is no `[DONE]`."""
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = response.text.split("\n\n")
    assert blocks.pop() == ""
    return [json.loads(one.removeprefix("data: ")) for one in blocks if one.startswith("data: ")]


@pytest.mark.parametrize("path", NATIVE)
async def test_a_stream_says_the_same_as_a_whole_answer(call: Serve, path: str) -> None:
    async with call(FakeBackend("The quick brown fox.")) as served:
        whole = (await served.client.post(path, json=NATIVE[path])).json()
        body = NATIVE[path] | {"stream": True}
        *texts, last = objects_of(await served.client.post(path, json=body))
        assert "".join(one["content"] for one in texts) == whole["content"]
        assert all(one["tokens"] for one in texts)
        assert (last["stop"], last["content"]) == (True, "")
        assert last["timings"] == whole["timings"]
        assert whole["generation_settings"]["n_ctx"] == 4096


async def test_completions_with_v1_are_openais(call: Serve) -> None:
    async with call() as served:
        answer = (await served.client.post("/v1/completions", json={"prompt": "a"})).json()
        assert answer["object"] == "text_completion"
        missing = await served.client.post("/v1/completions", json={})
        assert missing.json()["error"]["code"] == "invalid_schema"
        native = await served.client.post("/completions", json={})
        assert native.json()["error"]["code"] == 400


async def test_the_middle_reaches_the_backend(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        extra = [{"filename": "a.py", "text": "x = 1\n"}]
        await served.client.post("/infill", json=AROUND | {"input_extra": extra, "prompt": "ret"})
    (request,) = backend.requests
    assert isinstance(request, InfillRequest)
    assert (request.prefix, request.begun) == (AROUND["input_prefix"], "ret")
    assert request.extra[0].filename == "a.py"


async def test_a_model_that_fills_no_middle_says_so(call: Serve) -> None:
    backend = FakeBackend()
    backend.facts = replace(backend.facts, fills_middle=False)
    async with call(backend) as served:
        response = await served.client.post("/infill", json=AROUND)
        assert response.status_code == 501
        error = response.json()["error"]
        assert (error["code"], error["type"]) == (501, "not_supported_error")
        assert "coder model" in error["message"]


async def test_several_prompts_are_answered_by_a_list(call: Serve) -> None:
    backend = FakeBackend(lambda messages: f"to {messages[0].content}")
    async with call(backend) as served:
        body = {"prompt": ["a", [1, "b"], {"prompt_string": "c"}]}
        answers = (await served.client.post("/completion", json=body)).json()
        assert [one["content"] for one in answers] == ["to a", "to <1>b", "to c"]
        assert [one["tokens_evaluated"] for one in answers] == [1, 2, 1]
        single = (await served.client.post("/completion", json={"prompt": ["a"]})).json()
        assert single["content"] == "to a"


async def test_only_the_asked_fields_are_told(call: Serve) -> None:
    async with call() as served:
        body = AROUND | {"response_fields": ["content", "timings/predicted_n", "truncated"]}
        answer = (await served.client.post("/infill", json=body)).json()
        assert answer == {"content": "Hello there!", "timings/predicted_n": 2, "truncated": False}
        warm_up = AROUND | {"n_predict": 0, "response_fields": [""]}
        assert (await served.client.post("/infill", json=warm_up)).json() == {}


async def test_progress_and_times_are_streamed(call: Serve) -> None:
    async with call() as served:
        body = {"prompt": "a b c", "stream": True, "return_progress": True}
        told = objects_of(await served.client.post("/completion", json=body))
        progress = [one["prompt_progress"] for one in told if "prompt_progress" in one]
        assert [(one["total"], one["processed"]) for one in progress] == [(3, 0), (3, 3)]


async def test_chat_streams_progress_and_times_in_its_own_frames(call: Serve) -> None:
    async with call() as served:
        body = HELLO | {"stream": True, "return_progress": True, "timings_per_token": True}
        response = await served.client.post("/v1/chat/completions", json=body)
        frames = [
            json.loads(block.removeprefix("data: "))
            for block in response.text.split("\n\n")
            if block.startswith("data: {")
        ]
        progress = [one["prompt_progress"] for one in frames if "prompt_progress" in one]
        assert [one["processed"] for one in progress] == [0, 1]
        assert all(one["choices"][0]["delta"] == {} for one in frames if "prompt_progress" in one)
        ends = [one for one in frames if one["choices"][0]["finish_reason"]]
        assert ends[-1]["timings"]["predicted_n"] == 2
        texts = [one for one in frames if one["choices"][0]["delta"].get("content")]
        assert all("timings" in one for one in texts)


async def test_a_chat_as_llama_vscode_sends_it_is_answered(call: Serve) -> None:
    async with call() as served:
        edit = HELLO | {
            "samplers": "edkypmxt",
            "dynatemp_range": 0,
            "xtc_probability": 0,
            "dry_multiplier": 0,
            "dry_penalty_last_n": -1,
            "cache_prompt": True,
            "max_tokens": -1,
            "timings_per_token": False,
        }
        assert (await served.client.post("/v1/chat/completions", json=edit)).status_code == 200
        warm_up = HELLO | {"n_predict": 0, "samplers": [], "t_max_predict_ms": 1}
        warm_up |= {"t_max_prompt_ms": 500}
        assert (await served.client.post("/v1/chat/completions", json=warm_up)).status_code == 200


async def test_tokens_come_back_as_text(call: Serve) -> None:
    async with call() as served:
        asked = {"content": "añ", "add_special": True}
        tokens = (await served.client.post("/tokenize", json=asked)).json()["tokens"]
        assert tokens == [256, *"añ".encode()]
        text = await served.client.post("/detokenize", json={"tokens": tokens})
        assert text.json() == {"content": "<s>añ"}


async def test_pieces_are_texts_or_bytes(call: Serve) -> None:
    async with call() as served:
        asked = {"content": "añ", "with_pieces": True}
        assert (await served.client.post("/tokenize", json=asked)).json()["tokens"] == [
            {"id": 97, "piece": "a"},
            {"id": 0xC3, "piece": [0xC3]},
            {"id": 0xB1, "piece": [0xB1]},
        ]


@pytest.mark.parametrize("content", [None, [], [97, "b"]])
async def test_content_may_be_nothing_or_a_mix(call: Serve, content: object) -> None:
    async with call() as served:
        answer = await served.client.post("/tokenize", json={"content": content})
        assert answer.json()["tokens"] == ([97, 98] if content else [])


async def test_a_token_that_there_is_not_is_refused(call: Serve) -> None:
    async with call() as served:
        response = await served.client.post("/detokenize", json={"tokens": [9999]})
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_conversation_is_rendered_and_counted(call: Serve) -> None:
    async with call() as served:
        rendered = await served.client.post("/apply-template", json=HELLO)
        assert rendered.json() == {"prompt": "user: Hello\nassistant:"}
        without = HELLO | {"add_generation_prompt": False}
        assert (await served.client.post("/apply-template", json=without)).json() == {
            "prompt": "user: Hello\n"
        }
        for prefix in ("", "/v1"):
            counted = await served.client.post(
                f"{prefix}/chat/completions/input_tokens", json=HELLO
            )
            assert counted.json() == {"object": "response.input_tokens", "input_tokens": 1}


async def test_the_properties_of_the_default_model(call: Serve) -> None:
    async with call() as served:
        told = (await served.client.get("/props")).json()
        assert told["default_generation_settings"]["n_ctx"] == 4096
        assert told["default_generation_settings"]["params"]["temperature"] == 0.8
        assert (told["total_slots"], told["model_path"]) == (4, "fake.gguf")
        assert told["modalities"]["vision"] is False
        assert told["chat_template_caps"]["supports_tool_calls"] is True
        assert told["chat_template"] == "{{ messages }}"
        named = await served.client.get("/v1/props", params={"model": "fake"})
        assert named.json() == told


async def test_properties_cannot_be_changed(call: Serve) -> None:
    async with call() as served:
        for path in ("/props", "/slots/0?action=save"):
            response = await served.client.post(path, json={})
            assert response.status_code == 501
            assert response.json()["error"]["type"] == "not_supported_error"


async def test_nothing_is_loaded_for_a_look(call: Serve) -> None:
    """Of a model that is known by name only."""
    manager = fake_manager(FakeBackend())
    manager._offer.specs = (*manager._offer.specs, fake_spec("other"))  # type: ignore[attr-defined]
    async with call(manager=manager) as served:
        for path in ("/props", "/slots"):
            response = await served.client.get(path, params={"model": "other"})
            assert response.status_code == 400
            assert "not loaded" in response.json()["error"]["message"]
            unknown = await served.client.get(path, params={"model": "nobody"})
            assert unknown.status_code == 404
            assert unknown.json()["error"]["code"] == 404


async def test_slots_tell_what_runs(serve: Serve) -> None:
    backend = FakeBackend("a b c d e", token_delay_seconds=0.05)
    async with serve(backend) as served:
        idle = (await served.client.get("/slots")).json()
        assert [slot["is_processing"] for slot in idle] == [False] * 4
        async with connected(served) as client:
            await client.post({"prompt": "x", "stream": True}, "/completion")
            await client.read_until(b"data: ")
            slots = (await served.client.get("/slots")).json()
            assert [slot["is_processing"] for slot in slots] == [True, False, False, False]
            assert slots[0]["n_ctx"] == 4096
            assert slots[0]["next_token"][0]["n_decoded"] == 1
            assert slots[0]["params"]["temperature"] == 0.8
            assert "prompt" not in slots[0]


async def test_no_free_slot_can_be_an_error(serve: Serve) -> None:
    backend = FakeBackend("a b c", accept_delay_seconds=30.0)
    async with serve(backend) as served, asyncio.TaskGroup() as tasks:
        path = "/slots?fail_on_no_slot=1"
        assert (await served.client.get(path)).status_code == 200
        asking = [
            tasks.create_task(served.client.post("/completion", json={"prompt": "x"}))
            for _ in range(4)
        ]
        await until(lambda: backend.running == 4)
        response = await served.client.get(path)
        assert response.status_code == 503
        assert response.json()["error"]["type"] == "unavailable_error"
        for one in asking:
            one.cancel()


async def test_leaving_cancels_the_answer(serve: Serve) -> None:
    backend = FakeBackend("a b c d e f", token_delay_seconds=5.0)
    async with serve(backend) as served:
        for stream in (True, False):
            async with connected(served) as client:
                await client.post(AROUND | {"stream": stream}, "/infill")
                await until(lambda: backend.running == 1)
            await until(lambda: backend.running == 0)
    assert backend.cancelled == 2


async def test_a_stream_that_fails_ends_with_an_error(call: Serve) -> None:
    backend = FakeBackend("a b", failure=EngineFailed("It stopped."), failure_after=1)
    async with call(backend) as served:
        body = {"prompt": "x", "stream": True}
        *_, last = objects_of(await served.client.post("/completion", json=body))
        assert last["error"]["message"] == "It stopped."
        assert "[DONE]" not in str(last)


@pytest.mark.parametrize("path", [*NATIVE, "/tokenize", "/detokenize", "/apply-template", "/props"])
async def test_the_gateway_refuses_in_the_routes_own_shape(call: Serve, path: str) -> None:
    async with call(api_key="sk-right") as served:
        response = await served.client.post(path, json={})
        assert response.status_code == 401
        error = response.json()["error"]
        assert (error["code"], error["type"]) == (401, "authentication_error")
        assert response.json().keys() == {"error"}


async def test_too_many_requests_are_refused_in_the_routes_own_shape(call: Serve) -> None:
    async with call(requests_per_minute=1) as served:
        answers = [await served.client.post("/infill", json=AROUND) for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 429]
        error = answers[1].json()["error"]
        assert (error["code"], error["type"]) == (429, "rate_limit_error")
        assert "retry-after" in answers[1].headers


@pytest.mark.parametrize("path", NATIVE)
async def test_bad_bodies_are_told_in_the_routes_own_shape(call: Serve, path: str) -> None:
    async with call() as served:
        for content in (b"", b"{", b"[]", b"{}", b'{"prompt": 7, "input_prefix": 7}'):
            response = await served.client.post(path, content=content)
            assert response.status_code == 400
            error = response.json()["error"]
            assert (error["code"], error["type"]) == (400, "invalid_request_error")
            assert error["message"]


async def test_a_prompt_that_is_too_long_tells_the_numbers(call: Serve) -> None:
    async with call(FakeBackend(context_tokens=2)) as served:
        for stream in (False, True):
            body = {"prompt": "one two three", "stream": stream}
            response = await served.client.post("/completion", json=body)
            assert response.status_code == 400
            error = response.json()["error"]
            assert error["type"] == "exceed_context_size_error"
            assert (error["n_prompt_tokens"], error["n_ctx"]) == (3, 2)


async def test_lm_studio_lists_what_is_loaded_and_what_is_not(call: Serve) -> None:
    manager = fake_manager(FakeBackend())
    manager._offer.specs = (  # type: ignore[attr-defined]
        *manager._offer.specs,  # type: ignore[attr-defined]
        fake_spec("other-Q4_K_M"),
    )
    async with call(manager=manager) as served:
        first, second = (await served.client.get("/api/v0/models")).json()["data"]
        assert (first["id"], first["state"], first["loaded_context_length"]) == (
            *("fake", "loaded", 4096),
        )
        assert (first["type"], first["max_context_length"]) == ("llm", 8192)
        assert (second["id"], second["state"], second["quantization"]) == (
            *("other-Q4_K_M", "not-loaded", "Q4_K_M"),
        )
        one = await served.client.get("/api/v0/models/FAKE")
        assert one.json() == first
        assert (await served.client.get("/api/v0/models/nobody")).status_code == 404
        chat = await served.client.post("/api/v0/chat/completions", json=HELLO)
        assert chat.json()["object"] == "chat.completion"


def script(messages: Any) -> list[str | ToolCall]:
    last: Message = messages[-1]
    return [f"{len(last.content or '')} ", "letters"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(max_size=9)
        | st.lists(st.integers(0, 300) | st.text(max_size=3))
        | ANYTHING,
        "input_prefix": st.text(max_size=9) | ANYTHING,
        "input_suffix": st.text(max_size=9) | ANYTHING,
        "input_extra": st.lists(st.fixed_dictionaries({"text": st.text()})) | ANYTHING,
        "content": st.text(max_size=9) | ANYTHING,
        "tokens": st.lists(st.integers(-1, 300)) | ANYTHING,
        "messages": st.just(HELLO["messages"]) | ANYTHING,
        "n_predict": st.integers(-1, 9) | ANYTHING,
        "n_probs": st.integers(0, 3) | ANYTHING,
        "n_indent": st.integers(0, 5) | ANYTHING,
        "samplers": st.lists(st.sampled_from(["top_k", "infill", "x"])) | ANYTHING,
        "logit_bias": ANYTHING,
        "response_fields": st.lists(st.text(max_size=9)) | ANYTHING,
        "stream": st.booleans() | ANYTHING,
        "return_progress": st.booleans() | ANYTHING,
        "timings_per_token": st.booleans() | ANYTHING,
        "with_pieces": st.booleans() | ANYTHING,
        "stop": st.lists(st.text(max_size=2)) | ANYTHING,
        "grammar": ANYTHING,
    },
)
PATHS = ["/infill", "/completion", "/tokenize", "/detokenize", "/apply-template"]


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=FIELDS, path=st.sampled_from(PATHS))
def test_no_body_makes_the_server_fail(call: Serve, body: dict[str, Any], path: str) -> None:
    async def ask() -> None:
        async with call(FakeBackend(script)) as served:
            response = await served.client.post(path, content=json.dumps(body).encode())
            assert response.status_code in (200, 400), response.text
            if response.status_code == 400:
                assert response.json().keys() == {"error"}
                assert response.json()["error"].keys() >= {"code", "message", "type"}

    asyncio.run(ask())


async def test_the_request_reaches_the_backend_with_its_mix(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        await served.client.post("/completion", json={"prompt": [1, "a"], "n_predict": 1})
    (request,) = backend.requests
    assert isinstance(request, CompletionRequest)
    assert request.prompts == ((1, "a"),)


@pytest.mark.parametrize("path", ["/embedding", "/embeddings", "/v1/embedding"])
async def test_embeddings_are_a_list_of_rows(call: Serve, path: str) -> None:
    async with call() as served:
        rows = (await served.client.post(path, json={"content": ["a", [98, "c"]]})).json()
        assert [row["index"] for row in rows] == [0, 1]
        assert [len(row["embedding"][0]) for row in rows] == [64, 64]
        wrong = await served.client.post(path, json={"input": []})
        assert wrong.json()["error"]["code"] == 400


async def test_embeddings_with_v1_are_openais(call: Serve) -> None:
    async with call() as served:
        answer = (await served.client.post("/v1/embeddings", json={"input": "a"})).json()
        assert answer["object"] == "list"
        wrong = await served.client.post("/v1/embeddings", json={"input": []})
        assert wrong.json()["type"] == "/errors/invalid_schema"
