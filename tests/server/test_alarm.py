"""The timer that is put off far more often than it rings."""

from __future__ import annotations

import asyncio

from localserve.server.alarm import Alarm


async def rings(alarm: Alarm, rung: list[float], within: float) -> int:
    before = len(rung)
    await asyncio.sleep(within)
    return len(rung) - before


def make() -> tuple[Alarm, list[float]]:
    rung: list[float] = []
    loop = asyncio.get_running_loop()
    return Alarm(lambda: rung.append(loop.time())), rung


async def test_it_rings_once_and_not_before_it_is_due() -> None:
    alarm, rung = make()
    began = asyncio.get_running_loop().time()
    alarm.set(0.02)
    assert await rings(alarm, rung, 0.2) == 1
    assert rung[0] - began >= 0.02


async def test_set_again_it_rings_when_the_last_one_said() -> None:
    alarm, rung = make()
    began = asyncio.get_running_loop().time()
    alarm.set(0.02)
    alarm.set(0.1)
    assert await rings(alarm, rung, 0.3) == 1
    assert rung[0] - began >= 0.1
    alarm.set(60)
    alarm.set(0.01)
    assert await rings(alarm, rung, 0.2) == 1


async def test_put_off_it_waits_until_it_is_set() -> None:
    alarm, rung = make()
    alarm.set(0.01)
    alarm.put_off()
    assert await rings(alarm, rung, 0.1) == 0
    alarm.set(-1.0)
    assert await rings(alarm, rung, 0.1) == 1


async def test_putting_it_off_sets_no_timer() -> None:
    alarm, rung = make()
    alarm.set(60)
    timer = alarm._timer
    for _ in range(3):
        alarm.put_off()
        alarm.set(61)
        assert alarm._timer is timer
    alarm.close()
    assert timer is not None
    assert timer.cancelled()
    assert rung == []
