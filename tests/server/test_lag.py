"""How late the event loop is, measured inside."""

from __future__ import annotations

import asyncio
import time

import pytest

from localserve.server.lag import INTERVAL_SECONDS, SAMPLES, LoopLag
from localserve.testing import FakeBackend
from tests.server.conftest import CHAT, HELLO, Serve, until


def test_before_anything_was_measured_nothing_is_told() -> None:
    assert LoopLag().read() is None


async def test_a_loop_that_is_held_up_is_late() -> None:
    lag = LoopLag()
    with lag.watched():
        await until(lambda: lag.read() is not None)
        time.sleep(0.2)  # noqa: ASYNC251
        await until(lambda: (read := lag.read()) is not None and read.most_ms > 100)


def test_a_long_stall_counts_as_often_as_it_was_waited_for() -> None:
    lag = LoopLag()
    for _ in range(90):
        lag.note(0.0)
    lag.note(9.5 * INTERVAL_SECONDS)
    read = lag.read()
    assert read is not None
    assert (read.samples, read.p50_ms) == (100, 0.0)
    assert read.p99_ms == pytest.approx(8.5 * INTERVAL_SECONDS * 1e3)
    assert read.most_ms == pytest.approx(9.5 * INTERVAL_SECONDS * 1e3)


def test_old_samples_and_endless_stalls_are_bounded() -> None:
    lag = LoopLag()
    lag.note(1e9)
    for _ in range(SAMPLES):
        lag.note(0.0)
    read = lag.read()
    assert read is not None
    assert (read.samples, read.most_ms) == (SAMPLES, 0.0)


async def test_an_idle_server_is_not_woken(call: Serve) -> None:
    backend = FakeBackend("a b c d", token_delay_seconds=2 * INTERVAL_SECONDS)
    async with call(backend) as served:
        await served.client.post(CHAT, json=HELLO)
        told = (await served.client.get("/health/ready")).json()["loop_lag"]
        assert told["samples"] >= 1
        assert 0 <= told["p50_ms"] <= told["p99_ms"] <= told["most_ms"]
        await asyncio.sleep(4 * INTERVAL_SECONDS)
        later = (await served.client.get("/health/ready")).json()["loop_lag"]
        assert later["samples"] == told["samples"]
