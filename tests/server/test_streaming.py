"""Streams and disconnects behind a real server, over raw sockets and with the official client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from localserve.errors import Overloaded
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import CHAT, HELLO, Serve, Served, connected, until

LONG = " word" * 10_000


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_in_mid_answer_ends_it_at_once(
    serve: Serve, stream: bool
) -> None:
    backend = FakeBackend(LONG, token_delay_seconds=0.01)
    async with serve(backend) as served:
        async with connected(served) as connection:
            await connection.post(HELLO | {"stream": stream})
            if stream:
                await connection.read_until(b" word")
            await until(lambda: backend.running == 1)
        await until(lambda: backend.running == 0)
        assert backend.cancelled == 1
        record = await served.record()
        assert record.client_left


async def test_a_client_that_leaves_before_it_is_its_turn_ends_the_waiting(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=60)
    async with serve(backend) as served:
        async with connected(served) as connection:
            await connection.post(HELLO | {"stream": True})
            await until(lambda: backend.running == 1)
        await until(lambda: backend.running == 0)
        assert (await served.record()).client_left


async def test_a_client_that_leaves_while_the_model_loads_leaves_the_loading_alone(
    serve: Serve,
) -> None:
    backend = FakeBackend()
    manager = fake_manager(backend, load_seconds=0.3)
    async with serve(manager=manager, ready=False) as served:
        async with connected(served) as connection:
            await connection.post(HELLO)
        assert (await served.record()).client_left
        answer = await served.client.post(CHAT, json=HELLO)
        assert answer.status_code == 200
        assert len(backend.requests) == 1


async def test_a_connection_stays_open_after_a_stream(serve: Serve) -> None:
    async with serve() as served, connected(served) as connection:
        for _ in range(3):
            await connection.post(HELLO | {"stream": True})
            head = await connection.read_until(b"\r\n\r\n")
            assert b"connection: close" not in head
            await connection.read_until(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_silence_is_filled_with_comments(serve: Serve) -> None:
    backend = FakeBackend("a b", token_delay_seconds=0.35)
    async with serve(backend, keepalive_seconds=0.1) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True})
        before = await connection.read_until(b'"content":"a"')
        assert b"HTTP/1.1 200 OK" in before
        assert b": keepalive\n\n" in before
        after = await connection.read_until(b"[DONE]\n\n")
        assert b": keepalive\n\n" in after


async def test_headers_do_not_wait_for_ever_for_a_turn(serve: Serve) -> None:
    failure = Overloaded("It was not your turn.")
    backend = FakeBackend(accept_delay_seconds=0.4, failure=failure)
    async with (
        serve(backend, keepalive_seconds=0.1, arguments={"headers_after_seconds": 0.1}) as served,
        connected(served) as connection,
    ):
        await connection.post(HELLO | {"stream": True})
        text = await connection.read_until(b"\r\n0\r\n\r\n")
        assert text.startswith(b"HTTP/1.1 200 OK")
        assert b": keepalive\n\n" in text
        assert b'data: {"error": {"message": "It was not your turn."' in text
        assert b"[DONE]" not in text


async def test_a_stream_ends_with_an_error_event_when_the_drain_is_over(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend(LONG, token_delay_seconds=0.01)
    async with serve(backend) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True})
        await connection.read_until(b" word")
        served.server.stop()
        text = await connection.read_to_the_end()
        assert b"The server is shutting down." in text
        assert b"[DONE]" not in text
        assert text.endswith(b"\r\n0\r\n\r\n")
        assert backend.cancelled == 1
    assert "Traceback" not in caplog.text


async def test_a_whole_answer_that_outlasts_the_drain_is_a_503(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend(LONG, token_delay_seconds=0.01)
    async with serve(backend) as served, connected(served) as connection:
        await connection.post(HELLO)
        await until(lambda: backend.running == 1)
        served.server.stop()
        text = await connection.read_to_the_end()
        assert text.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in text
    assert "Traceback" not in caplog.text


async def test_a_body_that_is_still_coming_when_the_drain_is_over_is_a_503(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served, connected(served) as connection:
        await connection.send(f"POST {CHAT} HTTP/1.1\nhost: localhost\ncontent-length: 1000", b"{")
        await until(lambda: bool(served.server.server_state.tasks))
        served.server.stop()
        text = await connection.read_to_the_end()
        assert text.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in text
    assert "Traceback" not in caplog.text


async def test_an_answer_that_ends_within_the_drain_is_whole(serve: Serve) -> None:
    backend = FakeBackend("a b c d", token_delay_seconds=0.1)
    async with serve(backend, shutdown_seconds=20) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True})
        await connection.read_until(b'"content":"a"')
        served.server.stop()
        assert b'"content":" d"' in await connection.read_until(b"[DONE]")


async def test_a_chunked_body_that_is_too_large_is_refused(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with serve(max_body_bytes=1000) as served:
        response = await served.client.post(CHAT, content=chunks())
        assert response.status_code == 413
        assert (await served.client.post(CHAT, json=HELLO)).status_code == 200


async def test_doubled_slashes_reach_the_route_through_a_server(serve: Serve) -> None:
    async with serve() as served, connected(served) as connection:
        await connection.send("GET //v1//models/ HTTP/1.1\nhost: localhost")
        assert b"HTTP/1.1 200" in await connection.read_until(b"\r\n\r\n")


def official(served: Served, **options: Any) -> openai.AsyncOpenAI:
    base_url = f"http://127.0.0.1:{served.port}/v1"
    return openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0, **options)


async def test_the_official_client_chats(serve: Serve) -> None:
    async with serve(FakeBackend("It is four.")) as served, official(served) as client:
        answer = await client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "2 + 2?"}],
            logprobs=True,
            top_logprobs=2,
            n=2,
        )
        assert [choice.message.content for choice in answer.choices] == ["It is four."] * 2
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 3 + 6
        logprobs = answer.choices[1].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert [token.token for token in logprobs.content] == ["It", " is", " four."]
        assert len(logprobs.content[0].top_logprobs) == 2


async def test_the_official_client_streams(serve: Serve) -> None:
    async with serve(FakeBackend("It is four.")) as served, official(served) as client:
        stream = await client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "2 + 2?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == "It is four."
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 3
        assert len({chunk.id for chunk in chunks}) == 1


async def test_the_official_client_completes_and_lists(serve: Serve) -> None:
    async with serve(FakeBackend("and on")) as served, official(served) as client:
        answer = await client.completions.create(model="fake", prompt=["a", "b"], logprobs=1)
        assert [choice.text for choice in answer.choices] == ["and on", "and on"]
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.text_offset == [0, 3]
        assert [model.id async for model in client.models.list()] == ["fake"]
        assert (await client.models.retrieve("fake")).created == 1_700_000_000


@pytest.mark.parametrize(
    ("backend", "fields", "error", "code"),
    [
        (FakeBackend(context_tokens=0), {}, openai.BadRequestError, "context_length_exceeded"),
        (FakeBackend(), {"model": "none"}, openai.NotFoundError, "model_not_found"),
        (FakeBackend(), {"n": 0}, openai.UnprocessableEntityError, "invalid_schema"),
        (
            FakeBackend(failure=Overloaded("Full.")),
            {},
            openai.InternalServerError,
            "overloaded",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_official_client_raises_what_fits(
    serve: Serve,
    backend: FakeBackend,
    fields: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
    stream: bool,
) -> None:
    async with serve(backend) as served, official(served) as client:
        asked = {"model": "fake", "messages": HELLO["messages"], "stream": stream} | fields
        with pytest.raises(error) as caught:
            await client.chat.completions.create(**asked)
        assert caught.value.code == code


async def test_the_official_client_raises_when_a_stream_breaks(serve: Serve) -> None:
    backend = FakeBackend("one two", failure=Overloaded("It broke."), failure_after=1)
    async with serve(backend) as served, official(served) as client:
        stream = await client.chat.completions.create(
            model="fake", messages=HELLO["messages"], stream=True
        )
        with pytest.raises(openai.APIError, match="It broke"):
            async for _ in stream:
                pass


async def test_sixteen_clients_are_answered_at_once(serve: Serve) -> None:
    backend = FakeBackend(lambda messages: f"for {messages[0].content}", token_delay_seconds=0.01)
    async with serve(backend) as served, official(served) as client:

        async def ask(number: int) -> str | None:
            answer = await client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": f"{number}"}]
            )
            return answer.choices[0].message.content

        answers = await asyncio.gather(*(ask(number) for number in range(16)))
        assert answers == [f"for {number}" for number in range(16)]
