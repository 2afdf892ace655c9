"""Ollama's routes over a fake backend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.catalog.download import Progress, Said
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.headers import read_local
from localserve.catalog.registry import BUILTIN_NAME, shipped_registry
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import ChatRequest, CompletionRequest, Message, ToolCall
from localserve.config import DEFAULT_CONTEXT_TOKENS
from localserve.errors import EngineFailed, ModelUnusable, NotDownloaded, UnknownModel
from localserve.gateway.store import KeyStore
from localserve.manager.library import Arriving, Looking, PullNews
from localserve.testing import FakeBackend, Thought, fake_manager, fake_spec
from tests.server.conftest import Serve, connected, until

CHAT, GENERATE = "/api/chat", "/api/generate"
HELLO: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "Hello"}]}
WHOLE = HELLO | {"stream": False}


def lines_of(response: httpx2.Response) -> list[Any]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def error_of(response: httpx2.Response, status: int) -> str:
    """The text of an error, which has nothing beside it."""
    assert response.status_code == status, response.text
    document = response.json()
    assert list(document) == ["error"]
    return str(document["error"])


async def test_a_stream_says_the_same_as_a_whole_answer(call: Serve) -> None:
    async with call(FakeBackend("The quick brown fox.")) as served:
        whole = (await served.client.post(CHAT, json=WHOLE)).json()
        lines = lines_of(await served.client.post(CHAT, json=HELLO))
        assert "".join(line["message"]["content"] for line in lines) == "The quick brown fox."
        assert whole["message"]["content"] == "The quick brown fox."
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        same = ("done_reason", "prompt_eval_count", "eval_count", "eval_duration")
        assert [lines[-1][key] for key in same] == [whole[key] for key in same]
        assert whole["total_duration"] >= whole["load_duration"] > 0


async def test_calls_and_thinking(call: Serve) -> None:
    pieces = [Thought("I must look."), ToolCall("a1", "look", '{"at": 1}')]
    async with call(FakeBackend(lambda _: pieces)) as served:
        message = (await served.client.post(CHAT, json=WHOLE)).json()["message"]
        thought, called, last = lines_of(await served.client.post(CHAT, json=HELLO))
    assert message["thinking"] == thought["message"]["thinking"] == "I must look."
    (called_function,) = called["message"]["tool_calls"]
    assert called_function["function"] == {"index": 0, "name": "look", "arguments": {"at": 1}}
    assert message["tool_calls"] == called["message"]["tool_calls"]
    assert last["done_reason"] == "stop"


async def test_prompts_reach_the_backend_as_chats_or_as_they_are(call: Serve) -> None:
    backend = FakeBackend("ok")
    async with call(backend) as served:
        for more in ({}, {"raw": True}, {"suffix": "end"}):
            body = {"model": "fake", "prompt": "Hi", "stream": False, **more}
            answer = (await served.client.post(GENERATE, json=body)).json()
            assert (answer["response"], answer["done"]) == ("ok", True)
        lines = lines_of(await served.client.post(GENERATE, json={"prompt": "Hi"}))
        assert "".join(line["response"] for line in lines) == "ok"
        assert lines[0]["model"] == "fake"
    chat, raw, middle, _ = backend.requests
    assert isinstance(chat, ChatRequest)
    assert chat.messages == (Message("user", "Hi"),)
    assert isinstance(raw, CompletionRequest)
    assert isinstance(middle, CompletionRequest)
    assert (raw.suffix, middle.suffix) == (None, "end")


async def test_embeddings_in_both_forms(call: Serve) -> None:
    async with call() as served:
        body = {"model": "fake", "input": ["a", "b"], "truncate": True}
        answer = (await served.client.post("/api/embed", json=body)).json()
        assert len(answer["embeddings"]) == 2
        assert answer["prompt_eval_count"] == 2
        assert answer["total_duration"] > 0
        one = (await served.client.post("/api/embeddings", json={"prompt": "a"})).json()
        assert one == {"embedding": answer["embeddings"][0]}
        none = (await served.client.post("/api/embed", json={"model": "fake", "input": []})).json()
        assert none["embeddings"] == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [(CHAT, {"message": {"role": "assistant", "content": ""}}), (GENERATE, {"response": ""})],
)
async def test_an_empty_question_loads_and_unloads(
    call: Serve, path: str, answer: dict[str, Any]
) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        loaded = (await served.client.post(path, json={"model": "fake:latest"})).json()
        assert loaded.items() >= {**answer, "done": True, "done_reason": "load"}.items()
        assert loaded["model"] == "fake:latest"
        body = {"model": "fake", "keep_alive": 0}
        unloaded = (await served.client.post(path, json=body)).json()
        assert unloaded.items() >= {**answer, "done": True, "done_reason": "unload"}.items()
        assert backend.closed
        assert (await served.client.get("/api/ps")).json() == {"models": []}
        again = (await served.client.post(path, json={})).json()
        assert (again["done_reason"], again["model"]) == ("load", "fake")
    assert backend.requests == []


async def test_a_model_in_use_or_pinned_is_not_unloaded_by_an_empty_question(call: Serve) -> None:
    async with call(FakeBackend("a b", token_delay_seconds=60)) as served:
        asking = asyncio.create_task(served.client.post(CHAT, json=HELLO))
        await until(lambda: served.manager.report()[0].leases == 1)
        body = {"model": "fake", "keep_alive": 0}
        assert "in use" in error_of(await served.client.post(CHAT, json=body), 409)
        asking.cancel()
    spec = replace(fake_spec(), pin=True)
    async with call(manager=fake_manager(FakeBackend(), spec=spec)) as served:
        assert "pinned" in error_of(await served.client.post(CHAT, json=body), 409)


async def test_keep_alive_is_passed_on(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        await served.client.post(CHAT, json=WHOLE | {"keep_alive": 0})
        await until(lambda: backend.closed)
        body = {"model": "fake", "input": "a", "keep_alive": 0}
        backend.closed = False
        await served.client.post("/api/embed", json=body)
        await until(lambda: backend.closed)


async def test_the_models_that_run(call: Serve) -> None:
    async with call(unload_after_seconds=0.0) as served:
        (model,) = (await served.client.get("/api/ps")).json()["models"]
        assert (model["name"], model["model"], model["context_length"]) == ("fake", "fake", 4096)
        assert model["expires_at"].startswith("2318-")
        assert model["size_vram"] == 0


async def test_a_model_that_is_not_loaded_is_shown_by_its_file(call: Serve) -> None:
    spec = shipped_registry().find(BUILTIN_NAME)
    assert spec is not None
    assert isinstance(spec.source, LocalFile)
    trained = read_local(spec.source.path).facts.hyperparameters.context_length or 0
    context = min(trained, DEFAULT_CONTEXT_TOKENS)
    manager = fake_manager(FakeBackend(name=BUILTIN_NAME), spec=spec, load_seconds=60)
    async with call(manager=manager, ready=False) as served:
        for name in (BUILTIN_NAME, f"{BUILTIN_NAME}:latest", "TINY"):
            shown = (await served.client.post("/api/show", json={"name": name})).json()
            architecture = shown["model_info"]["general.architecture"]
            assert shown["model_info"][f"{architecture}.context_length"] == context
            assert {"completion", "tools", "insert"} <= set(shown["capabilities"])
            assert ".Suffix" in shown["template"]
        (listed,) = (await served.client.get("/api/tags")).json()["models"]
        assert listed["name"] == BUILTIN_NAME
        assert listed["details"]["family"] == architecture
        assert listed["size"] > 1_000_000


async def test_of_a_loaded_model_the_running_context_is_told(call: Serve) -> None:
    async with call(FakeBackend(context_tokens=512)) as served:
        shown = (await served.client.post("/api/show", json={"model": "fake"})).json()
        assert shown["model_info"]["fake.context_length"] == 512
        assert shown["parameters"].split()[:2] == ["num_ctx", "512"]
        (listed,) = (await served.client.get("/api/tags")).json()["models"]
        assert listed["size"] == 2_000_000


async def test_errors_are_an_object_with_a_text(call: Serve) -> None:
    async with call(FakeBackend(context_tokens=2)) as served:
        post = served.client.post
        assert "not found" in error_of(await post(CHAT, json=HELLO | {"model": "x"}), 404)
        assert "not found" in error_of(await post("/api/show", json={"model": "x"}), 404)
        assert "messages.0.role" in error_of(await post(CHAT, json={"messages": [{}]}), 400)
        assert "not JSON" in error_of(await post(CHAT, content=b"{"), 400)
        assert "format" in error_of(await post(CHAT, json=HELLO | {"format": "xml"}), 400)
        long = {"messages": [{"role": "user", "content": "one two three"}]}
        assert "3 input tokens" in error_of(await post(CHAT, json=long), 400)
        assert "nothing at /api/blobs" in error_of(await post("/api/blobs"), 404)
        assert "take GET" in error_of(await served.client.get(CHAT), 405)
        large = await post(CHAT, content=b" " * 40, headers={"content-length": str(10**12)})
        assert "bytes" in error_of(large, 413)
        elsewhere = await served.client.get("/api/v0/nothing")
        assert elsewhere.json()["error"]["code"] == "route_unknown"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_is_not_downloaded_is_not_found(call: Serve, stream: bool) -> None:
    """So that programs pull it."""
    manager = fake_manager(FakeBackend(), failure=NotDownloaded("It is not on this disk."))
    async with call(manager=manager, ready=False) as served:
        answer = await served.client.post(CHAT, json=HELLO | {"stream": stream})
        assert "not found" in error_of(answer, 404)


async def test_a_stream_that_fails_ends_with_an_error(call: Serve) -> None:
    backend = FakeBackend("a b c", failure=EngineFailed("It stopped."), failure_after=1)
    async with call(backend) as served:
        *_, last = lines_of(await served.client.post(CHAT, json=HELLO))
        assert last == {"error": "It stopped."}
        whole = await served.client.post(CHAT, json=WHOLE)
        assert error_of(whole, 503) == "It stopped."


async def test_a_silent_stream_shows_signs_of_life(call: Serve) -> None:
    backend = FakeBackend("a", token_delay_seconds=0.3)
    async with call(backend, keepalive_seconds=0.05) as served:
        lines = lines_of(await served.client.post(CHAT, json=HELLO))
        assert len(lines) > 3
        assert lines[0]["message"] == {"role": "assistant", "content": ""}
        assert "".join(line["message"]["content"] for line in lines) == "a"


async def test_a_client_that_leaves_ends_the_answer(serve: Serve) -> None:
    backend = FakeBackend("a b c", token_delay_seconds=0.2)
    async with serve(backend) as served:
        async with connected(served) as connection:
            await connection.post(HELLO, CHAT)
            await connection.read_until(b'"a"')
        await until(lambda: backend.cancelled == 1)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "localserve is running"),
        ({"host": "localhost:11434"}, "Ollama is running"),
        ({"host": "[::1]:11434"}, "Ollama is running"),
        ({"user-agent": "ollama-python/0.6.1 (x86_64 linux) Python/3.12"}, "Ollama is running"),
    ],
)
async def test_programs_that_look_for_ollama_find_it(
    call: Serve, headers: dict[str, str], text: str
) -> None:
    async with call() as served:
        assert (await served.client.get("/", headers=headers)).text.startswith(text)
        assert (await served.client.head("/", headers=headers)).status_code == 200
        version = (await served.client.get("/api/version", headers=headers)).json()["version"]
        assert version.count(".") == 2


class FakeLibrary:
    """What a pull brings, and what can be deleted."""

    def __init__(
        self, news: list[PullNews] | None = None, failure: Exception | None = None
    ) -> None:
        self.news = news or []
        self.failure = failure
        self.pulled: list[str] = []
        self.deleted: list[str] = []
        self.own: frozenset[str] = frozenset()
        self.discarded: list[str] = []
        self.ended = False

    async def pull(self, name: str) -> AsyncGenerator[PullNews, None]:
        self.pulled.append(name)
        try:
            for one in self.news:
                yield one
            if self.failure is not None:
                raise self.failure
        finally:
            self.ended = True

    async def discard(self, name: str) -> int:
        if name not in self.pulled:
            raise UnknownModel(name, ())
        self.discarded.append(name)
        return 5

    async def removable(self) -> frozenset[str]:
        return self.own

    async def find(self, name: str) -> FoundModel:
        if self.failure is not None:
            raise self.failure
        return FoundModel(name, "localserve", (Path(f"{name}.gguf"),), 1, 0.0)

    def spec_of(self, found: FoundModel) -> ModelSpec:
        return fake_spec(found.name)

    async def delete(self, found: FoundModel) -> None:
        self.deleted.append(found.name)


NEWS: list[PullNews] = [
    Looking(),
    Arriving("ab" * 32, Progress(1, 4)),
    Said("it starts again"),
    Arriving("ab" * 32, Progress(4, 4)),
]


def with_library(library: FakeLibrary) -> dict[str, Any]:
    return {"arguments": {"library": library}}


async def test_what_came_of_a_pull_is_discarded(call: Serve) -> None:
    library = FakeLibrary(NEWS)
    async with call(**with_library(library)) as served:
        discard = "/admin/pulls/some/model:Q4_K_M/discard"
        assert (await served.client.post(discard, json={})).status_code == 404
        await served.client.post("/api/pull", json={"model": "some/model:Q4_K_M"})
        answer = await served.client.post(discard, json={})
        assert answer.json() == {"model": "some/model:Q4_K_M", "freed_bytes": 5}
    assert library.discarded == ["some/model:Q4_K_M"]


async def test_a_pull_tells_how_far_it_is(call: Serve) -> None:
    library = FakeLibrary(NEWS)
    async with call(**with_library(library)) as served:
        lines = lines_of(await served.client.post("/api/pull", json={"model": "qwen3:8b"}))
        assert [line["status"] for line in lines] == [
            "pulling manifest",
            f"pulling {'ab' * 6}",
            "it starts again",
            f"pulling {'ab' * 6}",
            "success",
        ]
        assert (lines[1]["completed"], lines[1]["total"]) == (1, 4)
        whole = await served.client.post("/api/pull", json={"name": "qwen3:8b", "stream": False})
        assert whole.json() == {"status": "success"}
    assert library.pulled == ["qwen3:8b"] * 2


async def test_a_pull_that_fails_has_a_status_before_its_stream_and_a_line_in_it(
    call: Serve,
) -> None:
    body = {"model": "m"}
    async with call(**with_library(FakeLibrary(failure=UnknownModel("m", ())))) as served:
        assert "not found" in error_of(await served.client.post("/api/pull", json=body), 404)
    library = FakeLibrary(NEWS, failure=ModelUnusable("The disk is full."))
    async with call(**with_library(library)) as served:
        *_, last = lines_of(await served.client.post("/api/pull", json=body))
        assert last == {"error": "The disk is full."}
        whole = await served.client.post("/api/pull", json=body | {"stream": False})
        assert error_of(whole, 400) == "The disk is full."


async def test_a_client_that_leaves_ends_its_pull(serve: Serve) -> None:
    class Endless(FakeLibrary):
        async def pull(self, name: str) -> AsyncGenerator[PullNews, None]:
            try:
                while True:
                    yield Looking()
                    await asyncio.sleep(0.01)
            finally:
                self.ended = True

    library = Endless()
    async with serve(**with_library(library)) as served:
        async with connected(served) as connection:
            content = b'{"model": "m"}'
            await connection.send(
                "POST /api/pull HTTP/1.1\nhost: localhost\ncontent-type: application/json\n"
                f"content-length: {len(content)}",
                content,
            )
            await connection.read_until(b"pulling manifest")
        await until(lambda: library.ended)


async def test_a_delete(call: Serve) -> None:
    library = FakeLibrary()
    async with call(**with_library(library)) as served:
        answer = await served.client.request("DELETE", "/api/delete", json={"model": "m"})
        assert (answer.status_code, answer.content) == (200, b"")
        default = await served.client.request("DELETE", "/api/delete", json={"model": "fake"})
        assert "requests name none" in error_of(default, 409)
    assert library.deleted == ["m"]


async def test_the_list_says_what_can_be_deleted(call: Serve) -> None:
    library = FakeLibrary()
    async with call(**with_library(library)) as served:

        async def told() -> list[tuple[str, bool]]:
            listed = (await served.client.get("/api/tags")).json()["models"]
            return [(one["name"], one["removable"]) for one in listed]

        assert await told() == [("fake", False)]
        library.own = frozenset({"fake"})
        assert await told() == [("fake", True)]


async def test_a_server_without_a_library_says_so(call: Serve) -> None:
    async with call() as served:
        answer = await served.client.post("/api/pull", json={"model": "m"})
        assert "neither fetches" in error_of(answer, 404)


async def test_what_changes_the_server_is_the_administrators(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    user = store.create("user", now=0.0).secret
    admin = store.create("admin", now=0.0, scope="admin").secret
    library = FakeLibrary(NEWS)
    async with call(data_dir=tmp_path, **with_library(library)) as served:
        for method, path in (("POST", "/api/pull"), ("DELETE", "/api/delete"), ("GET", "/api/ps")):
            body = {"model": "m"}
            for key, status in (("", 401), ("wrong", 401), (user, 403), (admin, 200)):
                if path == "/api/ps" and key == user:
                    continue
                answer = await served.client.request(
                    method, path, json=body, headers={"authorization": f"Bearer {key}"}
                )
                if status != 200:
                    error_of(answer, status)
                assert answer.status_code == status, (path, key)
        for path in ("/api//pull", "/api/pull/"):
            headers = {"authorization": f"Bearer {user}"}
            answer = await served.client.post(path, json={"model": "m"}, headers=headers)
            error_of(answer, 403)


async def test_pages_of_other_programs_may_chat_but_not_pull(call: Serve) -> None:
    library = FakeLibrary(NEWS)
    page = {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}
    async with call(**with_library(library)) as served:
        assert (await served.client.post(CHAT, json=HELLO, headers=page)).status_code == 200
        answer = await served.client.post("/api/pull", json={"model": "m"}, headers=page)
        error_of(answer, 403)
        form = {"content-type": "text/plain"}
        plain = await served.client.post("/api/pull", content=b'{"model":"m"}', headers=form)
        error_of(plain, 415)
    assert library.pulled == []


async def test_too_many_requests_have_the_same_shape(call: Serve) -> None:
    async with call(requests_per_minute=1, burst_seconds=60.0) as served:
        await served.client.get("/api/version")
        refused = await served.client.get("/api/version")
        assert "per minute" in error_of(refused, 429)
        assert int(refused.headers["retry-after"]) > 0


async def test_a_key_for_some_models_sees_those_only(call: Serve, tmp_path: Path) -> None:
    secret = KeyStore(tmp_path / "keys.sqlite").create("k", now=0.0, models=["other"]).secret
    headers = {"authorization": f"Bearer {secret}"}
    async with call(data_dir=tmp_path) as served:
        for path in ("/api/tags", "/api/ps"):
            assert (await served.client.get(path, headers=headers)).json() == {"models": []}
        for path in (CHAT, "/api/show", "/api/embed"):
            body = {"model": "fake", "input": "a"}
            error_of(await served.client.post(path, json=body, headers=headers), 403)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = [
    "model",
    "name",
    "messages",
    "prompt",
    "suffix",
    "input",
    "raw",
    "stream",
    "format",
    "keep_alive",
    "options",
    "think",
    "tools",
    "images",
    "context",
    "template",
    "system",
    "truncate",
    "dimensions",
    "logprobs",
    "top_logprobs",
    "verbose",
]
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={
        "content": st.text(max_size=8) | ANYTHING,
        "tool_calls": ANYTHING,
        "tool_name": st.text(max_size=4),
        "images": ANYTHING,
    },
)
BODIES = ANYTHING | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(FIELDS, ANYTHING)
    | {"messages": st.lists(MESSAGE, max_size=3), "model": st.just("fake") | ANYTHING},
)
PATHS = [CHAT, GENERATE, "/api/embed", "/api/embeddings", "/api/show", "/api/pull"]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(path=st.sampled_from(PATHS), body=BODIES)
def test_no_body_is_answered_by_a_server_error(call: Serve, path: str, body: object) -> None:
    async def ask() -> None:
        async with call(**with_library(FakeLibrary(NEWS))) as served:
            content = json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            response = await served.client.post(path, content=content, headers=headers)
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                error_of(response, response.status_code)

    asyncio.run(ask())
