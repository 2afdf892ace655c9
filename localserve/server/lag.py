"""How late the event loop does what is due: measured inside, while there are requests.

A timer says when it should have come and when it came. What is late by more than the time between
two timers is counted as those that should have come meanwhile, too, so that one long stall weighs
as much as it would for whoever asks all the time. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.gateway.paths import EVENTS_PATH, route_path
from localserve.server.paths import normal_path

INTERVAL_SECONDS: Final = 0.1
"""Each timer takes a core from the computing for a moment."""

SAMPLES: Final = 600
"""A minute in which there were requests."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Of the last `samples` timers, in milliseconds."""

    samples: int
    p50_ms: float
    p99_ms: float
    most_ms: float


class LoopLag:
    """Samples while it is watched; an idle server is not woken for it."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=SAMPLES)
        self._watchers = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample within the block."""
        self._watchers += 1
        if self._timer is None:
            self._expect()
        try:
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0 and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def read(self) -> Lag | None:
        """None where nothing was measured yet."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return Lag(len(ordered), p50 * 1e3, p99 * 1e3, ordered[-1] * 1e3)

    def note(self, late_seconds: float) -> None:
        """A timer came so late."""
        missed = min(SAMPLES, int(late_seconds / INTERVAL_SECONDS))
        self._seconds.extend(late_seconds - each * INTERVAL_SECONDS for each in range(missed + 1))

    def _expect(self) -> None:
        loop = asyncio.get_running_loop()
        due = time.monotonic() + INTERVAL_SECONDS
        self._timer = loop.call_later(INTERVAL_SECONDS, self._tick, due)

    def _tick(self, due: float) -> None:
        self.note(max(0.0, time.monotonic() - due))
        self._expect()


class LagWatched:
    """The middleware that watches while requests are answered."""

    def __init__(self, app: ASGIApp, lag: LoopLag) -> None:
        self.app = app
        self.lag = lag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_looking(scope):
            await self.app(scope, receive, send)
            return
        with self.lag.watched():
            await self.app(scope, receive, send)


def _is_looking(scope: Scope) -> bool:
    """An open page of the dashboard is no work: its samples would be those of an idle server."""
    return route_path({**scope, "path": normal_path(scope["path"])}) == EVENTS_PATH
