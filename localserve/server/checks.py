"""Checks of what a server needs, run side by side and within a tenth of a second.

Whoever brings a new dependency adds its check. One that hangs is told as such and is not started
again before it ends. Knows nothing of HTTP. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

CHECK_SECONDS: Final = 0.08
"""Every check has so long to answer; they run at the same time."""

PROBLEM_CHARACTERS: Final = 300

Status = Literal["ok", "degraded", "failing"]
"""All is well; something is wrong and requests are answered all the same; they are not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: nothing wrong, or `problem`, with what belongs to it in `details`. With a
    `fatal` one requests are not answered."""

    problem: str | None = None
    fatal: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Awaitable[Finding]]
"""Looks at one thing. What it raises is its problem."""


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """A check. Whatever a `vital` one finds is fatal, no answer from it included."""

    name: str
    check: Check
    vital: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check, in how long."""

    name: str
    status: Status
    latency_ms: float
    finding: Finding


Source = Callable[[], Iterable[NamedCheck]]
"""The checks that make sense now: what they look at may come and go."""


class HealthChecks:
    """All checks of one server, run together."""

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        """`on_close` frees what the checks need."""
        self._on_close = on_close
        self._sources: list[Source] = []
        self._running: dict[str, asyncio.Task[Finding]] = {}

    def add(self, name: str, check: Check, *, vital: bool = False) -> None:
        """A check that is always made."""
        one = NamedCheck(name, check, vital)
        self._sources.append(lambda: (one,))

    def add_source(self, source: Source) -> None:
        """Checks whose number changes, such as one for each engine. Their names tell them apart."""
        self._sources.append(source)

    async def run(self) -> list[Outcome]:
        """Make all checks, in the order in which they were added."""
        checks = [one for source in self._sources for one in source()]
        return list(await asyncio.gather(*map(self._run_one, checks)))

    async def _run_one(self, named: NamedCheck) -> Outcome:
        began = time.monotonic()
        task = self._running.get(named.name)
        if task is None or task.done():
            task = asyncio.create_task(_finding(named.check), name=f"check {named.name}")
            self._running[named.name] = task
        await asyncio.wait({task}, timeout=CHECK_SECONDS)
        latency_ms = (time.monotonic() - began) * 1e3
        if task.done():
            finding = task.result()
            self._running.pop(named.name, None)
        else:
            finding = Finding(f"No answer within {CHECK_SECONDS * 1e3:.0f} ms.")
        status: Status = "ok"
        if finding.problem is not None:
            status = "failing" if named.vital or finding.fatal else "degraded"
        return Outcome(named.name, status, latency_ms, finding)

    async def close(self) -> None:
        """End what still runs."""
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=CHECK_SECONDS)
        self._on_close()


async def _finding(check: Check) -> Finding:
    try:
        return await check()
    except Exception as error:
        return Finding((str(error) or type(error).__name__)[:PROBLEM_CHARACTERS])


def worst(outcomes: Iterable[Outcome]) -> Status:
    """What they mean together."""
    found = {outcome.status for outcome in outcomes}
    ranked: tuple[Status, ...] = ("failing", "degraded")
    return next((status for status in ranked if status in found), "ok")
