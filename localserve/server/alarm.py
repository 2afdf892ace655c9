"""A timer for what is put off at every token and hardly ever comes. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Alarm:
    """Calls `ring` when it is due. Putting it off sets no timer: the one there is looks again."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = inf

    def set(self, seconds: float) -> None:
        """Be due in so many seconds from now, and not as was said before."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._due < self._looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self._look_at(loop, self._due)

    def put_off(self) -> None:
        """Be due no more until it is set again."""
        self._due = inf

    def close(self) -> None:
        """Never ring again."""
        self._due = inf
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._looks_at = when
        self._timer = loop.call_at(when, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, self._looks_at = None, inf
        if loop.time() >= self._due:
            self._due = inf
            self._ring()
        elif self._due < inf:
            self._look_at(loop, self._due)
