"""A circuit breaker: who failed several times in a row is left alone, then tried once.

Pure; lives on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

FAILURES: Final = 3
"""So many in a row open it."""

OPEN_SECONDS: Final = 10.0

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed, it lets everybody through; open, nobody; half-open, one at a time as a probe.

    Whoever was let through (`enter`) tells how it went (`succeeded` or `failed`), or nothing where
    it does not know, and ends with `leave`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._entered = 0
        self._probe: int | None = None

    @property
    def state(self) -> State:
        if self._failures < FAILURES:
            return "closed"
        return "half-open" if self._clock() - self._opened_at >= OPEN_SECONDS else "open"

    @property
    def lets_through(self) -> bool:
        """Whether `enter` may be called now."""
        state = self.state
        return state == "closed" or (state == "half-open" and self._probe is None)

    @property
    def seconds_left(self) -> float:
        """Until it is half-open; 0 where it is not open."""
        if self.state != "open":
            return 0.0
        return max(0.0, OPEN_SECONDS - (self._clock() - self._opened_at))

    def enter(self) -> int:
        """Somebody goes through, and leaves with the number that this returns."""
        self._entered += 1
        if self.state == "half-open":
            self._probe = self._entered
        return self._entered

    def succeeded(self) -> None:
        """It answered: all is well again."""
        self._failures, self._probe = 0, None

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        self._opened_at = self._clock()

    def leave(self, number: int) -> None:
        """Whoever got `number` from `enter` has ended; a probe makes room for the next one."""
        if self._probe == number:
            self._probe = None
