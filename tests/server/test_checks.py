"""Health checks, run side by side: what fails, hangs or comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from localserve.server import checks as module
from localserve.server.checks import Finding, HealthChecks, NamedCheck, worst


async def fine() -> Finding:
    return Finding(details={"size": 1})


async def wrong() -> Finding:
    return Finding("It is wrong.")


async def fatal() -> Finding:
    return Finding("It is over.", fatal=True)


async def raises() -> Finding:
    raise OSError("no such thing")


async def says_nothing() -> Finding:
    raise ValueError


async def test_each_check_has_its_outcome_in_order() -> None:
    checks = HealthChecks()
    checks.add("fine", fine)
    checks.add("wrong", wrong)
    checks.add("vital", wrong, vital=True)
    checks.add("fatal", fatal)
    checks.add("raises", raises)
    checks.add("silent", says_nothing)
    outcomes = await checks.run()
    assert [(one.name, one.status, one.finding.problem) for one in outcomes] == [
        ("fine", "ok", None),
        ("wrong", "degraded", "It is wrong."),
        ("vital", "failing", "It is wrong."),
        ("fatal", "failing", "It is over."),
        ("raises", "degraded", "no such thing"),
        ("silent", "degraded", "ValueError"),
    ]
    assert all(one.latency_ms >= 0 for one in outcomes)
    assert [worst(outcomes[:count]) for count in (0, 1, 2, 3)] == [
        "ok",
        "ok",
        "degraded",
        "failing",
    ]


async def test_one_that_hangs_is_told_and_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    started, go_on = 0, asyncio.Event()

    async def hangs() -> Finding:
        nonlocal started
        started += 1
        await go_on.wait()
        return Finding()

    checks = HealthChecks()
    checks.add("disk", hangs)
    checks.add("fine", fine)
    for _ in range(3):
        stuck, well = await checks.run()
        assert (stuck.status, well.status) == ("degraded", "ok")
        assert "No answer" in (stuck.finding.problem or "")
    assert started == 1
    go_on.set()
    await asyncio.sleep(0.01)  # it ends, unasked: what it found is too old
    monkeypatch.setattr(module, "CHECK_SECONDS", 20.0)
    assert [one.status for one in await checks.run()] == ["ok", "ok"]
    assert started == 2
    await checks.close()


async def test_two_who_ask_at_once_share_a_check() -> None:
    started = 0

    async def slow() -> Finding:
        nonlocal started
        started += 1
        await asyncio.sleep(0.005)
        return Finding()

    checks = HealthChecks()
    checks.add("slow", slow)
    await asyncio.gather(checks.run(), checks.run(), checks.run())
    assert started == 1


async def test_what_is_checked_may_come_and_go() -> None:
    there = ["one"]
    checks = HealthChecks()
    checks.add_source(lambda: [NamedCheck(name, fine) for name in there])
    assert [one.name for one in await checks.run()] == ["one"]
    there.append("two")
    assert [one.name for one in await checks.run()] == ["one", "two"]
    there.clear()
    assert await checks.run() == []


async def test_the_end_ends_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    ended = asyncio.Event()

    async def hangs() -> Finding:
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        return Finding()

    checks = HealthChecks()
    checks.add("disk", hangs)
    await checks.run()
    await checks.close()
    assert ended.is_set()
