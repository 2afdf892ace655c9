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

    Whoever was let through (`enter`) ends with `succeeded`, `failed` or `given_up`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        if self._failures < FAILURES:
            return "closed"
        return "half-open" if self._clock() - self._opened_at >= OPEN_SECONDS else "open"

    @property
    def lets_through(self) -> bool:
        """Whether `enter` may be called now."""
        state = self.state
        return state == "closed" or (state == "half-open" and not self._probing)

    @property
    def seconds_left(self) -> float:
        """Until it is half-open; 0 where it is not open."""
        if self.state != "open":
            return 0.0
        return max(0.0, OPEN_SECONDS - (self._clock() - self._opened_at))

    def enter(self) -> None:
        """Somebody goes through."""
        self._probing = self.state == "half-open"

    def succeeded(self) -> None:
        """It answered: all is well again."""
        self._failures, self._probing = 0, False

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        self._opened_at, self._probing = self._clock(), False

    def given_up(self) -> None:
        """Whoever went through left before anything was known."""
        self._probing = False
