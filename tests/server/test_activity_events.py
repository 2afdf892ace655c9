"""What the server does, told as it changes for as long as somebody listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import Message, Scope

from localserve.gateway.caller import ANYONE
from localserve.gateway.keyring import Keyring
from localserve.gateway.paths import EVENTS_PATH
from localserve.gateway.store import KeyStore
from localserve.server import activity_events
from localserve.server.activity import Activity
from localserve.server.activity_events import ActivityEvents
from localserve.server.draining import tell_of_draining
from localserve.server.records import RequestRecord
from localserve.server.request_lines import is_probe
from localserve.testing import FakeBackend
from tests.server.conftest import CHAT, HELLO, RawConnection, Serve, Served, connected, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds as hundredths."""
    for name in ("EVERY_SECONDS", "SHARED_SECONDS", "SILENCE_SECONDS", "UNTOLD_SECONDS"):
        monkeypatch.setattr(activity_events, name, getattr(activity_events, name) / 100)


class Listening:
    """One connection that listens."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection

    async def text(self) -> str:
        """The next piece that tells something."""
        return (await self.connection.read_until(b"\n\n")).rpartition(b"\r\n")[2].decode()

    async def event(self) -> Any:
        """The next event; comments are passed over."""
        async with asyncio.timeout(20):
            while not (text := await self.text()).startswith("data: "):
                pass
        return json.loads(text.removeprefix("data: "))


@asynccontextmanager
async def listening(served: Served, key: str = "") -> AsyncIterator[Listening]:
    async with connected(served) as connection:
        head = f"GET {EVENTS_PATH} HTTP/1.1\nhost: localhost"
        await connection.send(f"{head}\nauthorization: Bearer {key}" if key else head)
        answer = await connection.read_until(b"\r\n\r\n")
        assert b"200 OK" in answer
        assert b"content-type: text/event-stream" in answer
        yield Listening(connection)


def endless() -> FakeBackend:
    return FakeBackend("word " * 2000, token_delay_seconds=0.01)


async def test_all_is_told_at_once_as_the_route_for_one_look_has_it(serve: Serve) -> None:
    async with serve() as served:
        await served.client.post(CHAT, json=HELLO, headers={"x-request-id": "before"})
        async with listening(served) as listener:
            event = await listener.event()
        look = (await served.client.get("/admin/activity")).json()
        assert event == look
        assert [one["request_id"] for one in event["recent"]] == ["before"]


async def test_a_request_comes_and_goes_and_is_told_once(serve: Serve) -> None:
    async with serve(endless()) as served, listening(served) as listener:
        assert (await listener.event())["running"] == []
        async with connected(served) as asking:
            await asking.post(HELLO | {"stream": True})
            while not (event := await listener.event())["running"]:
                pass
            (running,) = event["running"]
            assert (running["model"], event["models"][0]["running"]) == ("fake", 1)
        while (event := await listener.event())["running"]:
            assert event["recent"] == []
        while not event["recent"]:
            event = await listener.event()
        assert [one["client_left"] for one in event["recent"]] == [True]
        await served.client.post(CHAT, json={}, headers={"x-request-id": "wrong"})
        while event["ended"] < 2:
            event = await listener.event()
        assert [one["request_id"] for one in event["recent"]] == ["wrong"]


async def test_while_nothing_changes_comments_say_that_the_connection_lives(serve: Serve) -> None:
    async with serve() as served, listening(served) as listener:
        assert (await listener.text()).startswith("data: ")
        assert await listener.text() == ": keepalive\n\n"
        assert await listener.text() == ": keepalive\n\n"


async def test_it_takes_a_key_of_the_scope_admin(serve: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    asking = store.create("asking", now=0.0).secret
    monitor = store.create("monitor", now=0.0, scope="monitor").secret
    admin = store.create("admin", now=0.0, scope="admin").secret
    async with serve(data_dir=tmp_path) as served:
        for key, status, code in (
            ("", 401, "missing_api_key"),
            ("wrong", 401, "invalid_api_key"),
            (asking, 403, "key_forbidden"),
            (monitor, 403, "key_forbidden"),
        ):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            refused = await served.client.get(f"/v1{EVENTS_PATH}", headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        async with listening(served, admin) as listener:
            assert (await listener.event())["models"]


async def test_who_could_not_come_in_any_more_is_told_why_and_listens_no_longer(
    serve: Serve, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    async with serve(data_dir=tmp_path) as served, listening(served) as without:
        await without.event()
        store.create("another", now=0.0, scope="admin")
        admin = store.create("admin", now=0.0, scope="admin").secret
        assert (await without.event())["error"]["code"] == "missing_api_key"
        assert await without.connection.read_until(b"0\r\n\r\n")
        async with listening(served, admin) as listener:
            await listener.event()
            store.revoke("admin", now=1.0)
            error = (await listener.event())["error"]
            assert error["code"] == "invalid_api_key"
            assert "revoked" in error["message"]


async def test_nothing_is_left_of_a_listener_that_went(serve: Serve) -> None:
    async with serve() as served:
        await served.client.get("/health/live")
        before = len(asyncio.all_tasks())
        served.records.clear()
        async with listening(served) as listener:
            await listener.event()
            assert len(asyncio.all_tasks()) > before
        record = await served.record()
        assert record.route == EVENTS_PATH
        assert is_probe(record)
        assert not record.client_left
        await until(lambda: len(asyncio.all_tasks()) <= before)
        told = (await served.client.get("/admin/activity")).json()
        assert (told["running"], told["recent"]) == ([], [])


async def test_the_end_of_the_server_ends_it_and_does_not_wait_for_it(serve: Serve) -> None:
    async with serve(shutdown_seconds=600) as served, listening(served) as listener:
        await listener.event()
        served.server.stop()
        assert (await listener.connection.read_to_the_end()).endswith(b"0\r\n\r\n")


async def test_no_rate_limit_holds_and_a_look_at_the_headers_ends(serve: Serve) -> None:
    async with serve(requests_per_minute=1) as served:
        for _ in range(3):
            answer = await served.client.head(EVENTS_PATH)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"


async def test_an_open_page_is_no_work_whose_lag_is_measured(serve: Serve) -> None:
    async with serve() as served, listening(served) as listener:
        before = (await served.client.get("/health/ready")).json()["loop_lag"]
        await asyncio.sleep(0.25)
        await listener.text()
        assert (await served.client.get("/health/ready")).json()["loop_lag"] == before


class Counting(Activity):
    """Something else each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> dict[str, Any]:
        self.asked += 1
        return {"ended": 0, "asked": self.asked}

    def recent(self, after: int, until: int) -> list[dict[str, object]]:
        return []


class Open:
    """Keys of which none is needed."""

    async def identify(self, presented: object) -> object:
        return ANYONE


class Reader:
    """A client that takes so many pieces and then nothing, until it is told to go on."""

    def __init__(self, takes: int) -> None:
        self.texts: list[str] = []
        self._left = takes
        self.goes_on = asyncio.Event()

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.texts.append(message["body"].decode())
            self._left -= 1
            if self._left <= 0:
                await self.goes_on.wait()

    async def asks(self, events: ActivityEvents, state: dict[str, Any]) -> None:
        """Until it ends."""
        record = RequestRecord("one", "GET", EVENTS_PATH)
        scope: Scope = {
            "method": "GET",
            "headers": [],
            "state": state,
            "localserve.record": record,
        }
        await events(scope, self.receive, self.send)

    @asynccontextmanager
    async def reads(self, events: ActivityEvents) -> AsyncIterator[None]:
        state: dict[str, Any] = {}
        tell_of_draining(state, asyncio.Event())
        answering = asyncio.create_task(self.asks(events, state))
        try:
            yield
        finally:
            answering.cancel()
            with contextlib.suppress(Exception):
                await answering


async def test_who_reads_slowly_gets_the_newest_and_keeps_nothing_waiting() -> None:
    activity = Counting()
    events = ActivityEvents(activity, cast(Keyring, Open()))
    slow, quick = Reader(takes=1), Reader(takes=1000)
    async with slow.reads(events), quick.reads(events):
        await until(lambda: len(quick.texts) >= 10)
        assert len(slow.texts) == 1
        asked = activity.asked
        slow.goes_on.set()
        await until(lambda: len(slow.texts) >= 2)
        told = json.loads(slow.texts[1].removeprefix("data: "))
        assert told["asked"] >= asked


async def test_many_who_look_at_the_same_time_cost_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(activity_events, "SHARED_SECONDS", 60.0)
    activity = Counting()
    events = ActivityEvents(activity, cast(Keyring, Open()))
    readers = [Reader(takes=1000) for _ in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        for reader in readers:
            await stack.enter_async_context(reader.reads(events))
        await until(lambda: all(reader.texts for reader in readers))
    assert activity.asked == 1
    assert {reader.texts[0] for reader in readers} == {readers[0].texts[0]}


async def test_where_nobody_would_tell_of_the_end_it_ends_by_itself() -> None:
    reader = Reader(takes=1000)
    async with asyncio.timeout(20):
        await reader.asks(ActivityEvents(Counting(), cast(Keyring, Open())), {})
    assert reader.texts[0].startswith("data: ")
    assert reader.texts[-1] == ""
