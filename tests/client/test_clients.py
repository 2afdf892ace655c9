"""Both clients against the application over a real socket, with a fake backend or with faults."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from localserve.chat import ChatRequest, ToolCall
from localserve.client import (
    AsyncClient,
    AuthenticationFailed,
    BadRequest,
    Client,
    ClientError,
    ConnectionFailed,
    ContextTooLong,
    Message,
    NotFound,
    Retrying,
    StreamBroken,
    TimedOut,
    Unavailable,
    UnreadableAnswer,
    collect,
)
from localserve.errors import EngineFailed, UnknownModel
from localserve.testing import FakeBackend, Thought
from tests.server.conftest import Serve, until
from tests.server.test_ollama import NEWS, FakeLibrary

SOON = Retrying(first_delay_seconds=0.001, most_delay_seconds=0.002)

CALL = ToolCall("", "get_weather", '{"city": "Paris"}')


@asynccontextmanager
async def connected(serve: Serve, backend: FakeBackend, **options: object) -> AsyncIterator[str]:
    async with serve(backend, **options) as served:
        yield f"http://127.0.0.1:{served.port}"


async def test_both_clients_get_the_same_answer(serve: Serve) -> None:
    backend = FakeBackend(lambda messages: [Thought("Hm."), f"You said {messages[-1].content}."])
    async with connected(serve, backend) as url, AsyncClient(url) as client:
        answer = await client.chat("Hello", max_tokens=20, temperature=0)

        def ask() -> None:
            with Client(url) as client:
                again = client.chat("Hello", max_tokens=20, temperature=0)
            assert (again.text, again.usage) == (answer.text, answer.usage)

        await asyncio.to_thread(ask)
    assert (answer.text, answer.reasoning) == ("You said Hello.", "Hm.")
    assert (answer.finish_reason, answer.model) == ("stop", "fake")
    assert answer.usage.prompt_tokens > 0
    assert answer.request_id
    asked = backend.requests[0]
    assert isinstance(asked, ChatRequest)
    assert asked.generation.max_tokens == 20


async def test_a_stream_has_the_pieces_and_the_usage(serve: Serve) -> None:
    async with connected(serve, FakeBackend("one two three")) as url, AsyncClient(url) as client:
        stream = await client.stream("Count")
        chunks = [chunk async for chunk in stream]

        def count() -> list[str]:
            with Client(url) as client, client.stream("Count") as stream:
                return [chunk.text for chunk in stream if chunk.text]

        assert await asyncio.to_thread(count) == ["one", " two", " three"]
    answer = collect(chunks, stream.request_id)
    assert answer.text == "one two three"
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("stop", 3)


async def test_calls_come_as_values_and_go_back_as_messages(serve: Serve) -> None:
    backend = FakeBackend(lambda messages: [CALL] if len(messages) == 1 else "21 degrees")
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    async with connected(serve, backend) as url, AsyncClient(url) as client:
        question = Message("user", "The weather?")
        answer = await client.chat([question], tools=[tool])
        (call,) = answer.tool_calls
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
        told = Message("tool", "sunny", tool_call_id=call.id)
        second = await client.chat([question, answer.message, told], tools=[tool])
        streamed = collect([c async for c in await client.stream([question], tools=[tool])])
    assert second.text == "21 degrees"
    assert [(one.name, one.arguments) for one in streamed.tool_calls] == [
        (call.name, call.arguments)
    ]


async def test_models_are_listed_embedded_loaded_and_unloaded(serve: Serve) -> None:
    async with connected(serve, FakeBackend()) as url, AsyncClient(url) as client:
        assert [model.name for model in await client.models()] == ["fake"]
        vectors = await client.embed(["a", "bb"], dimensions=4)
        assert [len(vector) for vector in vectors.vectors] == [4, 4]
        assert vectors.prompt_tokens == 3
        assert (await client.unload("fake")).state == "unloaded"
        assert (await client.load("fake")).state == "loaded"
        assert [model.name for model in await client.loaded()] == ["fake"]


async def test_leaving_a_stream_ends_the_answer(serve: Serve) -> None:
    backend = FakeBackend("one two three four", token_delay_seconds=0.05)
    async with connected(serve, backend) as url, AsyncClient(url) as client:
        async with await client.stream("Count") as stream:
            async for _ in stream:
                break
        await until(lambda: backend.cancelled == 1)


async def test_errors_have_the_codes_of_the_server(serve: Serve) -> None:
    async with connected(serve, FakeBackend(context_tokens=4)) as url, AsyncClient(url) as client:
        with pytest.raises(ContextTooLong) as too_long:
            await client.chat("one two three four five six")
        with pytest.raises(NotFound) as unknown:
            await client.chat("Hello", model="none")
        with pytest.raises(BadRequest) as wrong:
            await client.chat("Hello", temperature=-1)
    assert too_long.value.code == "context_length_exceeded"
    assert unknown.value.code == "model_not_found"
    assert (wrong.value.code, wrong.value.param) == ("invalid_schema", "temperature")
    assert wrong.value.request_id


async def test_a_key_is_sent(serve: Serve) -> None:
    key = "a-key-with-all-the-rights"
    async with connected(serve, FakeBackend(), api_key=key) as url:
        async with AsyncClient(url, api_key=key) as client:
            assert await client.models()
        async with AsyncClient(url) as client:
            with pytest.raises(AuthenticationFailed):
                await client.models()


async def test_a_stream_that_fails_in_the_middle_says_why(serve: Serve) -> None:
    backend = FakeBackend("one two", failure=EngineFailed("It broke."), failure_after=1)
    async with connected(serve, backend) as url, AsyncClient(url) as client:
        pieces: list[str] = []
        with pytest.raises(StreamBroken, match="It broke") as broken:
            await read_into(pieces, client)
    assert "one" in pieces
    assert broken.value.code == "engine_failed"


async def test_a_server_that_is_busy_and_cuts_connections_is_asked_again() -> None:
    """Over a socket: cut, then 503, then 429, then an answer."""
    body = b'{"data": []}'
    script = [
        b"",
        b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body),
    ]
    async with scripted(script) as url, AsyncClient(url, retrying=SOON) as client:
        assert await client.models() == ()
    async with scripted(script) as url:

        def ask() -> None:
            with Client(url, retrying=SOON) as client:
                assert client.models() == ()

        await asyncio.to_thread(ask)


async def test_silence_is_waited_for_as_long_as_was_said() -> None:
    async with silent() as url:
        async with AsyncClient(url, timeout_seconds=0.05) as client:
            with pytest.raises(TimedOut, match="timeout_seconds") as late:
                await client.models()
        assert late.value.request_id
        async with AsyncClient(url, answer_timeout_seconds=0.05) as client:
            with pytest.raises(TimedOut, match="answer_timeout_seconds"):
                await client.chat("Hello")

        def ask() -> None:
            with Client(url, timeout_seconds=0.05) as client, pytest.raises(TimedOut):
                client.models()

        await asyncio.to_thread(ask)


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A server that takes requests and never answers."""
    ended = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


@pytest.mark.parametrize("connections", [1, 3])
async def test_no_more_connections_are_open_than_the_pool_has(
    serve: Serve, connections: int
) -> None:
    backend = FakeBackend(accept_delay_seconds=3600)
    async with (
        connected(serve, backend) as url,
        AsyncClient(url, connections=connections) as client,
        asyncio.TaskGroup() as group,
    ):
        asking = [group.create_task(client.chat("Hello")) for _ in range(4)]
        await until(lambda: backend.running == connections)
        await asyncio.sleep(0.05)
        assert backend.running == connections
        for one in asking:
            one.cancel()


async def test_a_stream_whose_connection_ends_is_broken() -> None:
    head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    event = b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n'
    async with scripted([head + event]) as url, AsyncClient(url) as client:
        pieces: list[str] = []
        with pytest.raises(StreamBroken, match="cut off"):
            await read_into(pieces, client)
    assert pieces == ["one"]


async def read_into(pieces: list[str], client: AsyncClient) -> None:
    """Keeps what came before the stream failed."""
    async for chunk in await client.stream("Count"):
        pieces.append(chunk.text)  # noqa: PERF401


@asynccontextmanager
async def scripted(script: list[bytes]) -> AsyncIterator[str]:
    """A server that sends one answer of the script on each connection, and closes it."""
    answers = iter(script)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        writer.write(next(answers))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answering(*answers: httpx2.Response) -> httpx2.MockTransport:
    script = iter(answers)
    return httpx2.MockTransport(lambda request: next(script))


def test_a_download_tells_how_far_it_is() -> None:
    lines = [
        {"status": "pulling manifest"},
        {"status": "pulling abc", "digest": "sha256:abc", "total": 10, "completed": 4},
        {"status": "success"},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    transport = answering(httpx2.Response(200, content=content))
    with Client(transport=transport) as client, client.pull("qwen3-8b") as progress:
        told = list(progress)
    assert [one.status for one in told] == ["pulling manifest", "pulling abc", "success"]
    assert (told[1].done_bytes, told[1].total_bytes) == (4, 10)


async def test_a_server_downloads_for_as_long_as_somebody_listens(serve: Serve) -> None:
    library = FakeLibrary(NEWS)
    options = {"library": library}
    async with (
        connected(serve, FakeBackend(), arguments=options) as url,
        AsyncClient(url) as client,
    ):
        told = [one async for one in await client.pull("qwen3-8b")]
        assert told[-1].status == "success"
        assert (4, 4) in [(one.done_bytes, one.total_bytes) for one in told]
        assert library.pulled == ["qwen3-8b"]

        library.ended, library.news = False, NEWS * 10_000
        async with await client.pull("qwen3-8b") as progress:
            await anext(aiter(progress))
        await until(lambda: library.ended)


async def test_a_download_that_cannot_begin_says_why(serve: Serve) -> None:
    library = FakeLibrary(failure=UnknownModel("qwen", ("qwen3-8b",)))
    options = {"library": library}
    async with (
        connected(serve, FakeBackend(), arguments=options) as url,
        AsyncClient(url) as client,
    ):
        with pytest.raises(NotFound, match="qwen3-8b"):
            await client.pull("qwen")


@pytest.mark.parametrize("end", [b"", b'{"error": "The disk is full."}\n'])
def test_a_download_that_is_cut_or_fails_is_no_success(end: bytes) -> None:
    transport = answering(httpx2.Response(200, content=b'{"status": "pulling"}\n' + end))
    with (
        Client(transport=transport) as client,
        pytest.raises(StreamBroken, match="full" if end else "Pull again"),
    ):
        list(client.pull("qwen3-8b"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{}]}'])
def test_an_answer_of_something_else_is_told_as_such(body: bytes) -> None:
    transport = answering(httpx2.Response(200, content=body))
    with Client(transport=transport) as client, pytest.raises(UnreadableAnswer):
        client.chat("Hello")


def test_an_error_of_something_else_is_an_error_all_the_same() -> None:
    transport = answering(httpx2.Response(503, text="bad gateway"))
    with (
        Client(transport=transport, retrying=Retrying(attempts=1)) as client,
        pytest.raises(Unavailable, match="bad gateway"),
    ):
        client.chat("Hello")


def test_where_nobody_listens_the_error_says_what_to_do() -> None:
    with (
        Client("http://127.0.0.1:1", retrying=SOON) as client,
        pytest.raises(ConnectionFailed, match="localserve up"),
    ):
        client.models()


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://here", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Client(url)


def test_both_clients_can_do_the_same() -> None:
    def methods(kind: type) -> dict[str, object]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [*inspect.signature(method).parameters.values()]
            for name, method in found
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)


def test_every_error_is_in_the_printed_tree() -> None:
    printed = inspect.getdoc(inspect.getmodule(ClientError)) or ""
    kinds: list[type[ClientError]] = [ClientError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    assert [kind.__name__ for kind in kinds if kind.__name__ not in printed] == []


def test_the_package_is_imported_without_what_it_offers() -> None:
    program = (
        "import sys, localserve;"
        "assert not [m for m in sys.modules if m.startswith(('localserve.', 'httpx2'))];"
        "from localserve import Client;"
        "sys.exit(any(m in sys.modules for m in ('starlette', 'pydantic', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_name_that_the_package_lacks_is_an_attribute_error() -> None:
    import localserve

    missing: Callable[[], object] = lambda: localserve.nothing  # noqa: E731
    with pytest.raises(AttributeError, match="nothing"):
        missing()
