"""Connections that are too many, too slow or too greedy, over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from localserve.server import connections
from localserve.server.connections import MAX_HEAD_BYTES, bounded_by, room_for
from localserve.testing import FakeBackend
from tests.server.conftest import CHAT, HELLO, RawConnection, Serve, Served, connected, until


async def hold(served: Served, count: int, stack: contextlib.AsyncExitStack) -> None:
    """Open connections that the server knows of, and say nothing."""
    before = len(served.server.server_state.connections)
    for _ in range(count):
        await stack.enter_async_context(connected(served))
    await until(lambda: len(served.server.server_state.connections) == before + count)


async def asks(connection: RawConnection) -> bytes:
    await connection.send("GET /health/live HTTP/1.1\nhost: localhost")
    return await connection.read_until(b"\r\n\r\n")


async def test_one_connection_too_many_is_told_so_and_when_to_try_again(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(max_connections=3, ready=False) as served:
        async with contextlib.AsyncExitStack() as stack:
            await hold(served, 3, stack)
            for _ in range(2):
                async with connected(served) as excess:
                    await excess.post(HELLO)
                    text = await excess.read_to_the_end()
                    assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                    assert b"\r\nretry-after: 5\r\n" in text
                    assert b'"code": "too_many_connections"' in text
                    assert b"LOCALSERVE_MAX_CONNECTIONS" in text
        await until(lambda: not served.server.server_state.connections)
        async with connected(served) as connection:
            assert b" 200 OK" in await asks(connection)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["1 connections were turned away: 3 are open (LOCALSERVE_MAX_CONNECTIONS)"]


async def test_a_client_still_sending_gets_to_read_that_there_is_no_room(serve: Serve) -> None:
    async with (
        serve(max_connections=1, ready=False) as served,
        contextlib.AsyncExitStack() as stack,
    ):
        await hold(served, 1, stack)
        body = {"messages": [{"role": "user", "content": "x" * 1_000_000}]}
        response = await served.client.post(CHAT, json=body)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "too_many_connections"


async def test_clients_that_stay_after_they_were_turned_away_are_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_FAREWELLS", 1)
    monkeypatch.setattr(connections, "FAREWELL_SECONDS", 0.2)
    async with (
        serve(max_connections=1, ready=False) as served,
        contextlib.AsyncExitStack() as stack,
    ):
        await hold(served, 1, stack)
        async with connected(served) as told, connected(served) as untold:
            assert b"503" in await told.read_until(b"\r\n\r\n")
            assert await untold.ends()
            assert await told.ends()


async def test_who_says_nothing_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with serve() as served, connected(served) as connection:
        assert await connection.read_to_the_end() == b""


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_a_head_that_never_ends_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, requests_before: int
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with serve() as served, connected(served) as connection:
        for _ in range(requests_before):
            assert b" 200 OK" in await asks(connection)
            await connection.read_until(b"}")
        await connection.send_raw(b"GET / HTTP/1.1\r\nhost: ")
        assert await connection.read_to_the_end() == b""


async def test_an_answer_may_take_longer_than_a_head(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    async with (
        serve(FakeBackend(accept_delay_seconds=0.4)) as served,
        connected(served) as connection,
    ):
        await connection.post(HELLO)
        assert b" 200 OK" in await connection.read_until(b"\r\n\r\n")


async def test_a_head_that_waits_for_another_answer_does_not_cut_it_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    async with (
        serve(FakeBackend(accept_delay_seconds=0.4)) as served,
        connected(served) as connection,
    ):
        await connection.post(HELLO)
        await connection.send_raw(b"GET / HT")
        assert b"Hello there!" in await connection.read_to_the_end()


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100]
)
async def test_a_head_that_is_too_large_is_refused(serve: Serve, start: bytes) -> None:
    async with serve() as served, connected(served) as connection:
        await connection.send_raw(start)
        for _ in range(1 + MAX_HEAD_BYTES // 8000):
            await connection.send_raw(b"a" * 8000)
        text = await connection.read_to_the_end()
        assert text.startswith(b"HTTP/1.1 431 ")
        assert b'"code": "request_head_too_large"' in text
        await until(lambda: not served.server.server_state.connections)


async def test_a_body_may_be_larger_than_a_head(serve: Serve) -> None:
    async with serve() as served:
        body = {"messages": [{"role": "user", "content": "x" * 20 * MAX_HEAD_BYTES}]}
        assert (await served.client.post(CHAT, json=body)).status_code == 200


async def test_a_client_that_takes_nothing_counts_as_gone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.1)
    more_than_sockets_hold = ["x" * 100_000] * 200
    async with serve(FakeBackend(lambda _: more_than_sockets_hold)) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            body = b'{"messages": [{"role": "user", "content": "x"}], "stream": true}'
            head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert (await served.record()).client_left
            await until(lambda: not served.server.server_state.connections)


def test_a_client_that_takes_a_little_is_waited_for() -> None:
    """The clock of a stalled connection begins again whenever something was taken."""
    sizes = [100_000, 90_000, 90_000]
    calls: list[str] = []
    loop = SimpleNamespace(call_later=lambda seconds, call: calls.append(call.__name__))
    transport = SimpleNamespace(
        get_write_buffer_size=lambda: sizes[0], abort=lambda: calls.append("abort")
    )
    config = uvicorn.Config(lambda: None, log_config=None)
    connection = bounded_by(1)(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    connection.transport = transport  # type: ignore[assignment]
    connection._expect_progress()
    while len(sizes) > 1:
        sizes.pop(0)
        connection._check_progress()
    assert calls == ["_check_progress", "_check_progress", "abort"]


JAVA = "connection: Upgrade, HTTP2-Settings\nhttp2-settings: AAMA\nupgrade: h2c"
WEBSOCKET = "connection: Upgrade\nupgrade: websocket"


@pytest.mark.parametrize("asking", [JAVA, WEBSOCKET], ids=["java", "websocket"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_who_asks_for_another_protocol_is_answered_in_this_one(
    serve: Serve, caplog: pytest.LogCaptureFixture, asking: str, at_once: bool
) -> None:
    body = json.dumps(HELLO).encode()
    head = f"POST {CHAT} HTTP/1.1\nhost: localhost\n{asking}\ncontent-length: {len(body)}"
    async with serve() as served, connected(served) as connection:
        for _ in range(2):
            await connection.send(head, body if at_once else b"")
            if not at_once:
                await asyncio.sleep(0.05)
                await connection.send_raw(body)
            assert b" 200 OK" in await connection.read_until(b"\r\n\r\n")
            await connection.read_until(b"}}")
        assert b" 200 OK" in await asks(connection)
    assert [record.path for record in served.records] == [CHAT, CHAT, "/health/live"]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("asking", [JAVA, WEBSOCKET], ids=["java", "websocket"])
async def test_a_body_is_no_second_request_whatever_its_head_asks_for(
    serve: Serve, asking: str
) -> None:
    body = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
    head = f"POST {CHAT} HTTP/1.1\nhost: localhost\n{asking}\ncontent-length: {len(body)}"
    async with serve() as served, connected(served) as connection:
        await connection.send(head)
        await asyncio.sleep(0.05)
        await connection.send_raw(body)
        assert b" 400 " in await connection.read_until(b"\r\n\r\n")
        await connection.send("GET /health/live HTTP/1.1\nhost: localhost\nconnection: close")
        rest = await connection.read_to_the_end()
    assert rest.count(b"HTTP/1.1 ") == 1
    assert [record.path for record in served.records] == [CHAT, "/health/live"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b""),
        ("xchunked", b""),
        ("chunked", b"zz\r\n"),
        ("chunked", b"ffffffffffffffffff\r\n"),
        ("chunked", b"5\r\nabcdeXX"),
    ],
)
async def test_a_body_that_is_framed_wrongly_is_told_so(
    serve: Serve, coding: str, body: bytes
) -> None:
    async with serve() as served:
        async with connected(served) as connection:
            await connection.send(
                f"POST {CHAT} HTTP/1.1\nhost: localhost\ntransfer-encoding: {coding}", body
            )
            text = await connection.read_to_the_end()
        assert text.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert text.count(b"x-request-id: ") == 1
        assert b"not framed" in text
        assert b"--tls-cert" not in text
        await until(lambda: not served.server.server_state.tasks)


class Limits:
    """Stands for the module `resource`."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = (soft, hard)

    def getrlimit(self, kind: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
        self.limits = limits


@pytest.mark.parametrize(
    ("before", "room", "after"),
    [
        ((1024, 4096), 512, (1024, 4096)),
        ((256, 4096), 512, (768, 4096)),
        ((256, -1), 512, (768, -1)),
        ((256, 512), 256, (512, 512)),
        ((64, 64), 32, (64, 64)),
        ((1, 1), 1, (1, 1)),
        ((-1, -1), 512, (-1, -1)),
    ],
)
def test_as_many_files_may_be_open_as_connections_need(
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int],
    room: int,
    after: tuple[int, int],
) -> None:
    limits = Limits(*before)
    monkeypatch.setattr(connections, "resource", limits)
    assert room_for(512) == room
    assert limits.limits == after


def test_a_system_that_allows_no_more_files_leaves_room_for_fewer_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Strict(Limits):
        def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
            raise ValueError("not allowed")

    monkeypatch.setattr(connections, "resource", Strict(300, -1))
    assert room_for(512) == 150
    assert "at most 150 connections" in caplog.text
