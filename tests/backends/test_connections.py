"""How many requests another server has at once."""

from __future__ import annotations

import asyncio

import pytest

from localserve.backends import connections
from localserve.backends.connections import Connections
from localserve.catalog.spec import RemoteEngine, Replica
from localserve.errors import Overloaded


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Connections:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    replica = Replica("http://127.0.0.1:9/v1")
    return Connections(replica, RemoteEngine("m", (replica,), connect_seconds=0.02))


async def test_there_are_only_so_many_and_the_wait_for_one_is_bounded(two: Connections) -> None:
    await two.take()
    await two.take()
    with pytest.raises(Overloaded, match="has 2 requests") as refused:
        await two.take()
    assert refused.value.retry_after_seconds > 0
    two.give_back()
    await two.take()
    await two.close()


async def test_who_leaves_while_waiting_takes_none(two: Connections) -> None:
    await two.take()
    await two.take()
    waiting = asyncio.create_task(two.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    two.give_back()
    await two.take()
    await two.close()
