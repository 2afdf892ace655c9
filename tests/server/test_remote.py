"""Models of other servers, which are localserve's own app over a fake backend on loopback, or
sockets that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localserve.backends import connections, remote, tries
from localserve.backends.breaker import FAILURES, OPEN_SECONDS
from localserve.backends.event_lines import MAX_LINE_BYTES
from localserve.backends.remote import RemoteBackend
from localserve.catalog.registry import Registry
from localserve.catalog.routes import Route, RouteTable, Target
from localserve.catalog.spec import ModelSpec, RemoteEngine, Replica
from localserve.chat import ToolCall
from localserve.errors import ContextOverflow, EngineFailed, ModelUnusable, Overloaded
from localserve.manager import ModelManager, Progress
from localserve.manager.estimate import nothing_needed
from localserve.manager.need import Need
from localserve.planner.plan import Wanted
from localserve.server import checks, remote_checks
from localserve.testing import FakeBackend, FakeOffer, FakeRoom, Thought
from tests.server.conftest import HELLO, Serve, Served, until
from tests.server.test_chat import CHAT, events_of, text_of

SAID = {"messages": [{"role": "user", "content": "Hello"}], "model": "far"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are short; how busy this machine is changes nothing."""
    monkeypatch.setattr(tries, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(remote_checks, "ENGINE_SECONDS", 10.0)
    monkeypatch.setattr(checks, "CHECK_SECONDS", 20.0)


def spec_of(*urls: str, model: str = "fake", **more: Any) -> ModelSpec:
    options = {name: more.pop(name) for name in list(more) if name.endswith("_seconds")}
    replicas = tuple(Replica(url) for url in urls)
    return ModelSpec("far", RemoteEngine(model, replicas, **options), **more)


def manager_of(*specs: ModelSpec, near: FakeBackend | None = None) -> ModelManager:
    """The first of these is the default model; with `near`, there is one of this machine too."""
    offered = list(specs)

    async def load(spec: ModelSpec, need: Need, progress: Progress) -> Any:
        if isinstance(spec.source, RemoteEngine):
            return await remote.connect(spec)
        return near

    async def estimate(spec: ModelSpec, wanted: Wanted) -> Need:
        return nothing_needed()

    if near is not None:
        offered.append(replace(specs[0], name="near", source=None))  # type: ignore[arg-type]
    return ModelManager(
        offered[0], load, offer=FakeOffer(offered), estimate=estimate, room=FakeRoom(0)
    )


def url_of(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}/v1"


def engine_of(served: Served) -> RemoteBackend:
    (backend,) = [one for one in served.manager.backends() if isinstance(one, RemoteBackend)]
    return backend


Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@asynccontextmanager
async def raw(answer: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that lists no models and answers as it likes; its address, and what was asked."""
    asked: list[str] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await respond(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.lower().splitlines() if "content-length" in line]
        if length:
            await reader.readexactly(int(length[0].split(":")[1]))
        if head.startswith("GET"):
            writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            asked.append(head)
            await answer(writer, head)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", asked
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
WORD = b'data: {"choices": [{"index": 0, "delta": {"content": "Once"}}]}\n\n'


def status(code: int, *headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter, head: str) -> None:
        lines = [f"HTTP/1.1 {code} X", *headers, "content-length: 2", "connection: close", "", "{}"]
        writer.write("\r\n".join(lines).encode())

    return answer


async def cut(writer: asyncio.StreamWriter, head: str) -> None:
    """Killed in mid-stream."""
    writer.write(STREAM + WORD)
    await writer.drain()


async def hang(writer: asyncio.StreamWriter, head: str) -> None:
    """Hung in mid-stream."""
    writer.write(STREAM + WORD)
    await writer.drain()
    await asyncio.sleep(60)


async def silent(writer: asyncio.StreamWriter, head: str) -> None:
    await asyncio.sleep(60)


def streamed(data: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter, head: str) -> None:
        writer.write(STREAM + b"data: " + data + b"\n\n")

    return answer


async def broken(writer: asyncio.StreamWriter, head: str) -> None:
    writer.transport.abort()


async def test_a_chat_comes_through_with_its_usage(serve: Serve, call: Serve) -> None:
    pieces = [Thought("Hm."), "Hello ", "there", ToolCall("abcdefghi", "look", '{"a": 1}')]
    far = FakeBackend(lambda _: pieces)
    async with serve(far) as other, call(manager=manager_of(spec_of(url_of(other)))) as served:
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        body = SAID | {"tools": [tool], "temperature": 0.5, "top_k": 7, "max_tokens": 50}
        answer = (await served.client.post(CHAT, json=body | {"stop": ["x"]})).json()
        message = answer["choices"][0]["message"]
        assert answer["model"] == "far"
        assert (message["content"], message["reasoning_content"]) == ("Hello there", "Hm.")
        assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        assert answer["usage"]["prompt_tokens"] == 1
        assert answer["usage"]["completion_tokens"] == 4
        (asked,) = far.requests
        generation = asked.generation  # type: ignore[union-attr]
        assert (generation.sampling.temperature, generation.sampling.top_k) == (0.5, 7)
        assert (generation.max_tokens, generation.stop) == (50, ("x",))
        assert asked.tools[0].name == "look"  # type: ignore[union-attr]
        record = await served.record()
        assert (record.served_by, record.prompt_tokens, record.completion_tokens) == ("far", 1, 4)


async def test_a_stream_is_passed_on_as_it_comes(serve: Serve) -> None:
    gate = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter, head: str) -> None:
        writer.write(STREAM + WORD)
        await writer.drain()
        await gate.wait()
        writer.write(b'data: {"choices": [{"index": 0, "finish_reason": "stop"}]}\n\n')
        writer.write(b"data: [DONE]\n\n")

    async with raw(slowly) as (url, _), serve(manager=manager_of(spec_of(url))) as served:
        body = SAID | {"stream": True}
        async with served.client.stream("POST", CHAT, json=body) as response:
            lines = response.aiter_lines()
            async with asyncio.timeout(20):
                while "Once" not in await anext(lines):
                    pass
                gate.set()
                rest = [line async for line in lines]
        assert "data: [DONE]" in rest


async def test_other_questions_come_through(serve: Serve, call: Serve) -> None:
    far = FakeBackend("so it was")
    async with serve(far) as other:
        plain = spec_of(url_of(other))
        vectors = replace(spec_of(url_of(other), kind="embedding"), name="vectors")
        scores = replace(spec_of(url_of(other), pooling="rank"), name="scores")
        async with call(manager=manager_of(plain, vectors, scores)) as served:
            post = served.client.post
            body: dict[str, Any] = {"model": "far", "prompt": ["a", "b"], "echo": True, "n": 2}
            texts = (await post("/v1/completions", json=body)).json()["choices"]
            assert [one["text"] for one in texts] == ["aso it was"] * 2 + ["bso it was"] * 2
            ids = await post("/v1/completions", json={"model": "far", "prompt": [1, 2, 3]})
            assert ids.status_code == 200
            body = {"model": "vectors", "input": ["a", "bc"], "dimensions": 8}
            answer = (await post("/v1/embeddings", json=body)).json()
            table = np.array([one["embedding"] for one in answer["data"]])
            assert table.shape == (2, 8)
            assert np.linalg.norm(table, axis=1) == pytest.approx([1, 1])
            body = {"model": "scores", "query": "a b", "documents": ["a", "b a", "c"]}
            ranked = (await post("/v1/rerank", json=body)).json()["results"]
            assert [one["index"] for one in ranked] == [1, 0, 2]
            message = {"model": "far", "max_tokens": 9, "messages": HELLO["messages"]}
            assert (await post("/v1/messages", json=message)).json()["usage"]["input_tokens"] == 1


async def test_what_the_format_has_no_word_for_is_refused(serve: Serve, call: Serve) -> None:
    async with (
        serve(FakeBackend()) as other,
        call(manager=manager_of(spec_of(url_of(other)))) as served,
    ):
        post = served.client.post
        infill = {"model": "far", "input_prefix": "a", "input_suffix": "b"}
        assert (await post("/infill", json=infill)).status_code >= 400
        for path, body in (
            ("/tokenize", {"content": "a"}),
            ("/apply-template", {"messages": HELLO["messages"]}),
            ("/v1/embeddings", {"input": "a"}),
            ("/v1/completions", {"prompt": "a", "logprobs": 2}),
        ):
            answer = await post(path, json=body | {"model": "far"})
            assert answer.status_code in (400, 501), path


async def test_the_models_errors_have_our_shape(serve: Serve, call: Serve) -> None:
    far = FakeBackend(failure=ContextOverflow(9000, 4096))
    async with serve(far) as other, call(manager=manager_of(spec_of(url_of(other)))) as served:
        error = (await served.client.post(CHAT, json=SAID)).json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (9000, 4096)
        far.failure = Overloaded("Full.", retry_after_seconds=17)
        busy = await served.client.post(CHAT, json=SAID)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "17")


async def test_a_cut_in_mid_stream_is_an_error_and_nothing_is_repeated(call: Serve) -> None:
    async with raw(cut) as (url, asked), call(manager=manager_of(spec_of(url))) as served:
        address = url.removeprefix("http://")
        answer = await served.client.post(CHAT, json=SAID | {"stream": True})
        events = events_of(answer)
        assert text_of(events[:-1]) == "Once"
        assert events[-1]["error"]["code"] == "engine_failed"
        assert len(asked) == 1
        whole = await served.client.post(CHAT, json=SAID)
        assert whole.status_code == 503
        assert address not in answer.text + whole.text, "where servers are is nobody's business"


async def test_who_hangs_in_mid_stream_is_given_up(call: Serve) -> None:
    spec = {"between_seconds": 0.05}
    async with raw(hang) as (url, _), call(manager=manager_of(spec_of(url, **spec))) as served:
        events = events_of(await served.client.post(CHAT, json=SAID | {"stream": True}))
        assert text_of(events[:-1]) == "Once"
        assert "said nothing in time" in events[-1]["error"]["message"]


BAD = [
    *map(status, (500, 502, 503)),
    broken,
    silent,
    streamed(b'{"error": {"message": "the engine died", "code": 500}}'),
    streamed(b'{"error": {"message": "too busy", "code": 503}}'),
    streamed(b"<html>"),
    streamed(b"[DONE]"),
    streamed(b"x" * (MAX_LINE_BYTES + 1)),
]


@pytest.mark.parametrize("bad", BAD)
async def test_another_server_answers_where_nothing_came(
    serve: Serve, call: Serve, bad: Answer
) -> None:
    far = FakeBackend("I am well.")
    async with raw(bad) as (url, asked), serve(far) as other:
        spec = spec_of(url, url_of(other), first_token_seconds=1.0)
        async with call(manager=manager_of(spec)) as served:
            for number in range(100):
                body = {"model": "far", "messages": [{"role": "user", "content": str(number)}]}
                answer = await served.client.post(CHAT, json=body)
                assert answer.json()["choices"][0]["message"]["content"] == "I am well."
                if asked:
                    break
            assert asked, "both servers have conversations"


async def test_one_server_is_tried_again_only_so_often(call: Serve) -> None:
    async with (
        raw(status(503, "retry-after: 1")) as (url, asked),
        call(manager=manager_of(spec_of(url))) as served,
    ):
        answer = await served.client.post(CHAT, json=SAID)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert len(asked) == tries.MOST_ATTEMPTS


async def test_mistakes_of_the_request_are_told_and_not_repeated(call: Serve) -> None:
    async with (
        raw(status(400)) as (url, asked),
        call(manager=manager_of(spec_of(url))) as served,
    ):
        assert (await served.client.post(CHAT, json=SAID)).status_code == 400
        assert len(asked) == 1
        assert engine_of(served)._servers[0].breaker.state == "closed"


async def test_a_mistake_of_the_request_is_one_in_a_stream_too(call: Serve) -> None:
    words = b'{"error": {"message": "no such thing", "code": 400}}'
    async with (
        raw(streamed(words)) as (url, asked),
        call(manager=manager_of(spec_of(url))) as served,
    ):
        for _ in range(FAILURES):
            assert (await served.client.post(CHAT, json=SAID)).status_code == 400
        assert len(asked) == FAILURES
        assert engine_of(served)._servers[0].breaker.state == "closed"


@pytest.mark.parametrize("words", [b"<html>", b'{"error": "the engine died"}'])
async def test_streams_of_nonsense_open_the_circuit(call: Serve, words: bytes) -> None:
    async with (
        raw(streamed(words)) as (url, asked),
        call(manager=manager_of(spec_of(url))) as served,
    ):
        for _ in range(FAILURES + 1):
            assert (await served.client.post(CHAT, json=SAID)).status_code == 503
        assert len(asked) == FAILURES
        assert engine_of(served)._servers[0].breaker.state == "open"


async def test_a_whole_answer_of_nonsense_goes_to_another_server(serve: Serve, call: Serve) -> None:
    async with raw(status(200)) as (url, asked), serve(FakeBackend()) as other:
        spec = spec_of(url, url_of(other), kind="embedding")
        async with call(manager=manager_of(spec)) as served:
            for number in range(100):
                body = {"model": "far", "input": str(number)}
                answer = await served.client.post("/v1/embeddings", json=body)
                assert answer.status_code == 200
                if asked:
                    break
            assert asked, "both servers have texts"


async def test_the_circuit_opens_and_one_probe_closes_it(
    call: Serve,
) -> None:
    failing = True

    async def answer(writer: asyncio.StreamWriter, head: str) -> None:
        if failing:
            await status(500)(writer, head)
            return
        writer.write(STREAM + WORD)
        writer.write(b'data: {"choices": [{"index": 0, "finish_reason": "stop"}]}\n\n')
        writer.write(b"data: [DONE]\n\n")

    async with raw(answer) as (url, asked), call(manager=manager_of(spec_of(url))) as served:
        for _ in range(FAILURES):
            assert (await served.client.post(CHAT, json=SAID)).status_code == 503
        shut = await served.client.post(CHAT, json=SAID)
        assert len(asked) == FAILURES
        assert "left alone" in shut.json()["error"]["message"]
        assert 1 <= int(shut.headers["retry-after"]) <= OPEN_SECONDS
        (server,) = engine_of(served)._servers
        details = (await served.client.get("/health/details")).json()
        (check,) = [one for one in details["checks"] if one["name"] == "remote far"]
        assert check["servers"] == [
            {"base_url": url, "answers": True, "circuit": "open", "running": 0}
        ]
        server.breaker._opened_at -= OPEN_SECONDS
        failing = False
        answered = await served.client.post(CHAT, json=SAID)
        assert answered.json()["choices"][0]["message"]["content"] == "Once"
        assert server.breaker.state == "closed"


async def test_more_requests_than_connections_are_no_failure_of_the_server(
    call: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter, head: str) -> None:
        await gate.wait()
        writer.write(STREAM + WORD)
        writer.write(b'data: {"choices": [{"index": 0, "finish_reason": "stop"}]}\n\n')
        writer.write(b"data: [DONE]\n\n")

    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    async with raw(slowly) as (url, asked):
        spec = spec_of(url, connect_seconds=2.0)
        async with call(manager=manager_of(spec)) as served:
            first = asyncio.create_task(served.client.post(CHAT, json=SAID))
            await until(lambda: len(asked) == 1)
            async with asyncio.timeout(20):
                turned_away = await asyncio.gather(
                    *(served.client.post(CHAT, json=SAID) for _ in range(FAILURES))
                )
            for answer in turned_away:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert answer.json()["error"]["code"] == "overloaded"
                assert "has 1 requests" in answer.json()["error"]["message"]
            (server,) = engine_of(served)._servers
            assert server.breaker.state == "closed"
            details = (await served.client.get("/health/details")).json()
            (check,) = [one for one in details["checks"] if one["name"] == "remote far"]
            assert check["status"] == "ok"
            waiting = asyncio.create_task(served.client.post(CHAT, json=SAID))
            await until(lambda: server.running == 2)
            gate.set()
            assert [(await one).status_code for one in (first, waiting)] == [200, 200]


async def test_a_client_that_leaves_ends_the_work_over_there(serve: Serve) -> None:
    far = FakeBackend("one two three", token_delay_seconds=60)
    async with serve(far) as other, serve(manager=manager_of(spec_of(url_of(other)))) as served:
        asking = asyncio.create_task(served.client.post(CHAT, json=SAID))
        await until(lambda: far.running == 1)
        assert engine_of(served).status().running == 1
        asking.cancel()
        await until(lambda: far.cancelled == 1)
        await until(lambda: engine_of(served).status().running == 0)


async def test_a_route_leads_from_another_server_to_this_one(serve: Serve, call: Serve) -> None:
    near = FakeBackend("I am near.", name="near")
    route = Route("auto", "order", (Target("far"), Target("near")))
    async with raw(status(500)) as (url, _):
        manager = manager_of(spec_of(url), near=near)
        async with call(manager=manager, arguments={"routes": RouteTable((route,))}) as served:
            answer = await served.client.post(CHAT, json=SAID | {"model": "auto"})
            assert answer.headers["x-localserve-route"] == "auto -> far (failed) -> near: order"
            assert answer.json()["choices"][0]["message"]["content"] == "I am near."


async def test_it_takes_no_memory_and_is_listed(serve: Serve, call: Serve) -> None:
    async with (
        serve(FakeBackend(context_tokens=2048)) as other,
        call(manager=manager_of(spec_of(url_of(other)))) as served,
    ):
        assert sum(served.manager.ledger.held.values()) == 0
        (model,) = (await served.client.get("/v1/models")).json()["data"]
        assert (model["id"], model["max_model_len"]) == ("far", 2048)
        assert (await served.client.get("/admin/models")).status_code == 200
        assert (await served.client.get("/metrics")).status_code == 200
        assert (await served.client.get("/health/ready")).status_code == 200
        assert (await served.client.get("/api/tags")).status_code == 200
        for path in ("/props?model=far", "/slots?model=far", "/api/ps", "/api/v0/models"):
            assert (await served.client.get(path)).status_code == 200, path
        assert (await served.client.post("/api/show", json={"model": "far"})).status_code == 200
        health = (await served.client.get("/health/details")).json()
        names = [one["name"] for one in health["checks"]]
        assert "remote far" in names
        assert "engine far" not in names


async def test_a_server_that_is_gone_degrades_health(serve: Serve, call: Serve) -> None:
    async with serve(FakeBackend()) as other:
        here, gone = url_of(other), "http://127.0.0.1:9/v1"
        async with call(manager=manager_of(spec_of(here, gone))) as served:
            health = await served.client.get("/health/details")
            (check,) = [one for one in health.json()["checks"] if one["name"] == "remote far"]
            assert check["status"] == "degraded"
            assert [one["answers"] for one in check["servers"]] == [True, False]


async def test_other_servers_are_taken_over_while_it_is_loaded(
    serve: Serve, call: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(FakeBackend("first")) as first, serve(FakeBackend("second")) as second:
        spec = spec_of(url_of(first))
        async with call(manager=manager_of(spec)) as served:

            async def said() -> str:
                answer = (await served.client.post(CHAT, json=SAID)).json()
                return str(answer["choices"][0]["message"]["content"])

            assert await said() == "first"
            served.manager.reconfigure(Registry((spec_of(url_of(second)),)))
            assert await said() == "second"
            monkeypatch.delenv("FAR_KEY", raising=False)
            engine = RemoteEngine("fake", (Replica(url_of(first), "FAR_KEY"),))
            served.manager.reconfigure(Registry((ModelSpec("far", engine),)))
            assert await said() == "second"
            served.manager.reconfigure(
                Registry((spec_of("http://127.0.0.1:9/v1", url_of(second)),))
            )
            assert {await said() for _ in range(3)} == {"second"}


async def test_nobody_there_is_said_when_it_is_asked_for() -> None:
    with pytest.raises(EngineFailed, match="No server of 'far' answers"):
        await remote.connect(spec_of("http://127.0.0.1:9/v1"))


async def test_keys_come_from_the_environment_and_stand_nowhere(
    monkeypatch: pytest.MonkeyPatch, call: Serve
) -> None:
    monkeypatch.delenv("FAR_KEY", raising=False)
    async with raw(status(401)) as (url, asked):
        engine = RemoteEngine("m", (Replica(url, "FAR_KEY"),))
        spec = ModelSpec("far", engine)
        with pytest.raises(ModelUnusable, match="FAR_KEY"):
            await remote.connect(spec)
        monkeypatch.setenv("FAR_KEY", "very-secret")
        async with call(manager=manager_of(spec)) as served:
            answer = await served.client.post(CHAT, json=SAID)
            assert "authorization: bearer very-secret" in asked[0].lower()
            assert answer.status_code == 400
            assert "key_env" in answer.text
            assert "very-secret" not in answer.text
            everything = await served.client.get("/admin/models")
            assert "very-secret" not in everything.text
