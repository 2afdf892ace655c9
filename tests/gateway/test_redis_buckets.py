"""Buckets in a real Redis: shared, exact, and counted here while it is gone."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from localserve.config import read_settings
from localserve.errors import ConfigInvalid
from localserve.gateway.bucket import BucketState, Charge, Limit, MemoryBuckets
from localserve.gateway.redis_buckets import RedisBuckets, buckets_for
from localserve.redis_client import PAUSE_SECONDS
from tests.redis_server import RedisServer, redis_server

HOURLY = Limit(1, 60.0)
"""Sixty at once, and then one a minute: nothing comes while a test runs."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


class Rig:
    """One server's view of the shared buckets, with a clock for its pauses."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self.buckets = RedisBuckets(url, lambda: self.now)

    async def take(self, cost: float, bucket: str = "a") -> BucketState:
        (state,) = await self.buckets.take([Charge(bucket, HOURLY, cost)])
        return state

    async def settle(self, cost: float) -> BucketState:
        (state,) = await self.buckets.settle([Charge("a", HOURLY, cost)])
        return state


@pytest.fixture
async def rig(server: RedisServer) -> AsyncIterator[Rig]:
    made = Rig(server.url)
    yield made
    await made.buckets.close()


async def test_it_counts_as_the_memory_does(rig: Rig) -> None:
    assert (await rig.take(20)).remaining == 40
    refused = await rig.take(50)
    assert refused.remaining == 40
    assert refused.retry_after_seconds == pytest.approx(600, abs=60)
    assert (await rig.settle(-15)).remaining == 55
    assert (await rig.settle(100)).level == pytest.approx(-45, abs=1)
    assert (await rig.take(0, "b")).remaining == 60
    both = [Charge("a", HOURLY, 1), Charge("b", HOURLY, 1)]
    states = await rig.buckets.take(both)
    assert [state.retry_after_seconds > 0 for state in states] == [True, False]
    assert (await rig.take(0, "b")).remaining == 60, "all or none"
    assert await rig.buckets.take([]) == ()


async def test_servers_share_what_is_left(rig: Rig, server: RedisServer) -> None:
    other = Rig(server.url)
    await rig.take(50)
    assert (await other.take(20)).retry_after_seconds > 0
    assert (await other.take(10)).remaining == 0
    await other.buckets.close()


async def test_while_redis_is_gone_this_process_counts_by_itself(
    rig: Rig, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.take(10)
    server.kill()
    assert (await rig.take(30)).remaining == 30
    assert (await rig.take(31)).retry_after_seconds > 0, "limits are not lifted"
    assert (await rig.settle(-30)).remaining == 60
    assert len(caplog.records) == 1
    server.start()
    assert (await rig.take(5)).remaining == 55, "not asked again yet"
    rig.now += PAUSE_SECONDS
    assert (await rig.take(10)).remaining == 50


async def test_a_redis_that_was_never_there_stops_nothing(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="the package redis is not installed")
    rig = Rig(f"unix://{tmp_path}/nothing.sock")
    assert (await rig.take(10)).remaining == 50
    await rig.buckets.close()


def test_without_the_package_or_with_a_wrong_url_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path)}
    assert isinstance(buckets_for(read_settings(environ=environ)), MemoryBuckets)
    pytest.importorskip("redis", reason="the package redis is not installed")
    secret = environ | {"LOCALSERVE_REDIS_URL": "http://user:password@host"}
    with pytest.raises(ConfigInvalid, match="no address of a Redis") as refused:
        buckets_for(read_settings(environ=secret))
    assert "password" not in str(refused.value)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigInvalid) as missing:
        buckets_for(read_settings(environ=environ | {"LOCALSERVE_REDIS_URL": "redis://h"}))
    assert "localserve[redis]" in missing.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        b"*1\r\n:1\r\n",
        b"*2\r\n:1\r\n$3\r\nabc\r\n",
        b"*2\r\n:1\r\n$3\r\nnan\r\n",
        b"$-1\r\n",
        b":1\r\n",
        b"*0\r\n",
        b"?\r\n",
    ],
)
async def test_a_redis_that_answers_nonsense_stops_nothing(answer: bytes) -> None:
    pytest.importorskip("redis", reason="the package redis is not installed")

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.read(4096):
            scripts = command.count(b"EVALSHA")
            others = len(re.findall(rb"\*[0-9]+\r\n\$", command)) - scripts
            writer.write(b"+OK\r\n" * others + answer * scripts)
        writer.close()

    server = await asyncio.start_server(answer_all, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rig = Rig(f"redis://127.0.0.1:{port}/0")
    assert (await rig.take(10)).remaining == 50
    assert (await rig.take(10)).remaining == 40
    await rig.buckets.close()
    server.close()
    await server.wait_closed()
