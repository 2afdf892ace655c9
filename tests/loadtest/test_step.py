"""Users in a closed loop against the app over a fake backend, over TCP."""

from __future__ import annotations

import asyncio
import socket

import pytest

from localserve.chat import ChatRequest
from localserve.errors import InvalidRequest, Overloaded
from localserve.loadtest.answer import Answer, Exchange, Failure, read_exchange
from localserve.loadtest.client import Load, load_client, parse_url
from localserve.loadtest.step import (
    MAX_USERS,
    LoadTestFailed,
    parse_users,
    run_step,
    warm_up,
)
from localserve.testing import FakeBackend
from tests.server.conftest import Serve, Served

ANSWER = "one two three four five"


def load_on(served: Served, **fields: object) -> Load:
    return Load(f"http://127.0.0.1:{served.port}", **fields)  # type: ignore[arg-type]


async def ask_once(load: Load) -> Exchange:
    async with load_client(load) as client:
        return await client.ask()


async def test_a_request_is_answered_and_its_tokens_are_counted(serve: Serve) -> None:
    backend = FakeBackend(ANSWER, token_delay_seconds=0.01)
    async with serve(backend) as served:
        found = read_exchange(await ask_once(load_on(served, prompt_words=7, max_tokens=3)))
    assert isinstance(found, Answer)
    assert found.tokens == 3
    assert len(found.arrivals) == 3
    assert found.sent < found.arrivals[0] < found.arrivals[-1] <= found.ended


async def test_every_prompt_begins_differently(serve: Serve) -> None:
    backend = FakeBackend(ANSWER)
    async with serve(backend) as served, load_client(load_on(served)) as client:
        for _ in range(3):
            await client.ask()
    begins = set()
    for request in backend.requests:
        assert isinstance(request, ChatRequest)
        begins.add((request.messages[0].content or "").split()[0])
    assert len(begins) == 3


async def test_users_ask_at_once_and_each_waits_for_its_answer(serve: Serve) -> None:
    backend = FakeBackend(ANSWER, token_delay_seconds=0.005)
    most = 0
    told: list[float] = []

    def look(elapsed: float) -> None:
        nonlocal most
        most = max(most, backend.running)
        told.append(elapsed)

    async with serve(backend) as served, load_client(load_on(served)) as client:
        figures = await run_step(client, 3, 0.3, look)
    assert figures.users == 3
    assert figures.requests == len(backend.requests) >= 3
    assert not figures.errors
    assert most <= 3
    assert told == sorted(told)
    assert figures.tokens_per_second > 0


async def test_a_user_whose_request_outlasts_the_step_still_has_its_answer(serve: Serve) -> None:
    backend = FakeBackend(ANSWER, token_delay_seconds=0.05)
    async with serve(backend) as served, load_client(load_on(served)) as client:
        figures = await run_step(client, 2, 0.01)
    assert (figures.requests, figures.errors) == (2, {})
    assert figures.total is not None
    assert figures.total.p50 >= 0.25


async def test_failures_are_counted_by_the_servers_code(serve: Serve) -> None:
    backend = FakeBackend(ANSWER, failure=Overloaded("Too many wait."))
    async with serve(backend) as served, load_client(load_on(served)) as client:
        figures = await run_step(client, 2, 0.01)
    assert figures.errors == {"503 overloaded": 2}
    assert figures.error_rate == 1.0


async def test_an_error_in_the_middle_of_a_stream_is_a_failure(serve: Serve) -> None:
    backend = FakeBackend(ANSWER, failure=Overloaded("Too many wait."), failure_after=2)
    async with serve(backend) as served:
        found = read_exchange(await ask_once(load_on(served)))
    assert isinstance(found, Failure)
    assert found.reason == "overloaded"


async def test_the_warm_up_tells_the_servers_words(serve: Serve) -> None:
    async with serve(FakeBackend(ANSWER)) as served:
        async with load_client(load_on(served)) as client:
            await warm_up(client)
        async with load_client(load_on(served, model="nothing")) as client:
            with pytest.raises(LoadTestFailed, match="nothing"):
                await warm_up(client)


async def test_nobody_at_the_address_is_a_failure_and_no_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = read_exchange(await ask_once(Load(f"http://127.0.0.1:{port}")))
    assert isinstance(found, Failure)


async def test_a_server_that_breaks_off_or_talks_without_end_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localserve.loadtest.client.MAX_ANSWER_BYTES", 1000)
    length = 10

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * length)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        load = Load(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        broken = await ask_once(load)
        length = 2000
        long = await ask_once(load)
    assert broken.refused
    assert isinstance(read_exchange(broken), Failure)
    assert read_exchange(long) == Failure("answer too long", "answer too long")


def test_the_key_goes_with_the_request_and_stands_in_no_text() -> None:
    assert "ls-secret" not in repr(Load("http://x", "ls-secret"))


async def test_a_key_is_sent(serve: Serve) -> None:
    async with serve(FakeBackend(ANSWER), arguments={"owner_key": "ls-owner"}, api_key="k") as at:
        refused = read_exchange(await ask_once(load_on(at)))
        answered = read_exchange(await ask_once(load_on(at, key="ls-owner")))
    assert isinstance(refused, Failure)
    assert refused.reason.startswith("401")
    assert isinstance(answered, Answer)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("https://host/proxy/v1", "https://host/proxy"),
    ],
)
def test_addresses_are_taken_with_and_without_v1(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize("text", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no address"):
        parse_url(text)


def test_users_rise() -> None:
    assert parse_users("1, 2,8") == (1, 2, 8)
    for wrong in ("", "0", "1,1", "2,1", "a", "1.5", "-1,2", f"{MAX_USERS + 1}"):
        with pytest.raises(InvalidRequest, match="no steps of users"):
            parse_users(wrong)


async def test_who_is_refused_waits_before_asking_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserve.loadtest.step.PAUSE_SECONDS", 0.2)
    backend = FakeBackend(ANSWER, failure=Overloaded("Too many wait."))
    async with serve(backend) as served, load_client(load_on(served)) as client:
        figures = await run_step(client, 1, 1.0)
    assert 1 <= figures.requests <= 5
