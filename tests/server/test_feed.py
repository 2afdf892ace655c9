"""The way of the events from the backend to whoever waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from localserve.chat import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Completed,
    TextDelta,
    Timings,
    Usage,
)
from localserve.errors import EngineFailed, Superseded
from localserve.server.attempts import leased
from localserve.server.feed import ClientLeft, Feed, Limits
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import until


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def feed_of(backend: FakeBackend, receive: object = nothing) -> Feed:
    request = ChatRequest("", ())
    return Feed(backend.chat(request), receive)  # type: ignore[arg-type]


async def take_all(feed: Feed, events: list[ChatEvent]) -> None:
    while True:
        events += await feed.next(20)


async def test_what_is_ready_at_once_comes_together() -> None:
    async with feed_of(FakeBackend(lambda _: ["a", "b"])) as feed:
        events: list[ChatEvent] = []
        batches = 0
        while not (events and isinstance(events[-1], Completed)):
            events += await feed.next(20)
            batches += 1
        assert batches < len(events)
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        assert texts == ["a", "b"]


async def test_waiting_with_a_limit_disturbs_nothing() -> None:
    backend = FakeBackend("a", accept_delay_seconds=0.1)
    async with feed_of(backend) as feed:
        assert await feed.next(0.01) == []
        assert backend.cancelled == 0
        events = await feed.next(20)
        assert isinstance(events[0], Accepted)


async def test_events_before_a_failure_come_first() -> None:
    backend = FakeBackend(lambda _: ["a", "b"], failure=EngineFailed("x"), failure_after=1)
    async with feed_of(backend) as feed:
        events: list[ChatEvent] = []
        with pytest.raises(EngineFailed):
            await take_all(feed, events)
        assert TextDelta(0, "a") in events


async def test_an_answer_that_just_stops_is_a_failure() -> None:
    async def cut_off() -> AsyncGenerator[ChatEvent, None]:
        yield Accepted("fake", 1)

    async with Feed(cut_off(), nothing) as feed:
        with pytest.raises(EngineFailed, match="before it was complete"):
            await take_all(feed, [])


async def test_the_clients_departure_goes_before_what_is_left() -> None:
    leaving = asyncio.Event()

    async def receive() -> Message:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async with feed_of(FakeBackend("a b", token_delay_seconds=60), receive) as feed:
        await feed.next(20)
        leaving.set()
        with pytest.raises(ClientLeft):
            await feed.next(20)


async def test_leaving_the_block_closes_the_backends_generator_first() -> None:
    closed: list[str] = []

    async def slow_to_close() -> AsyncGenerator[ChatEvent, None]:
        try:
            yield Accepted("fake", 1)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.append("closed")

    async with Feed(slow_to_close(), nothing) as feed:
        await feed.next(20)
    assert closed == ["closed"]


async def test_a_manager_that_closes_while_loading_ends_the_waiting() -> None:
    manager = fake_manager(FakeBackend(), load_seconds=60)
    asked = leased(manager, "", lambda lease: lease.backend.chat(ChatRequest("", ())))
    async with Feed(asked, nothing) as feed:
        await until(lambda: getattr(manager.state, "share", 0) > 0)
        await manager.close()
        with pytest.raises(Exception, match="shutting down"):
            await feed.next(20)


async def test_an_answer_that_is_ended_from_outside_stops_at_once_and_says_why() -> None:
    backend = FakeBackend("a b", token_delay_seconds=60)
    async with feed_of(backend) as feed:
        await feed.next(20)
        feed.end(Superseded("A newer one."))
        feed.end(EngineFailed("Too late to say this."))
        with pytest.raises(Superseded):
            await feed.next(20)
        await until(lambda: backend.running == 0)
    assert backend.cancelled == 1


async def test_an_answer_that_has_begun_has_its_whole_time() -> None:
    async def slow() -> AsyncGenerator[ChatEvent, None]:
        yield Accepted("fake", 1)
        yield TextDelta(0, "a")
        await asyncio.sleep(0.05)
        yield Completed(Usage(1, 1), Timings())

    async with Feed(slow(), nothing, Limits(first_token_seconds=0.01)) as feed:
        events: list[ChatEvent] = []
        while not (events and isinstance(events[-1], Completed)):
            events += await feed.next(20)


async def test_an_answer_that_is_complete_cannot_be_ended() -> None:
    backend = FakeBackend("a")
    async with feed_of(backend) as feed:
        await until(lambda: feed._completed)
        feed.end(Superseded("A newer one."))
        events = await feed.next(20)
        assert isinstance(events[-1], Completed)
