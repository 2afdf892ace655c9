"""Token buckets: what may be used now, and when there will be more.

A bucket holds what a burst may use and fills evenly. It can be charged after the fact, down into a
debt, and given back to. The arithmetic is pure; `MemoryBuckets` lives on the event loop.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MAX_BUCKETS: Final = 100_000
"""So many callers are remembered; whoever was not seen for the longest begins anew."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So much a minute; `burst` of it at once."""

    per_minute: int
    burst: float

    @property
    def per_second(self) -> float:
        return self.per_minute / 60

    def seconds_for(self, amount: float) -> float:
        """How long it takes to fill by so much."""
        return max(0.0, amount) / self.per_second


@dataclass(frozen=True, slots=True)
class Charge:
    """What is taken from which bucket: never more than its burst, which is all it can hold."""

    bucket: str
    limit: Limit
    cost: float


@dataclass(frozen=True, slots=True)
class BucketState:
    """A bucket after a charge. `level` may be a debt; without a wait the charge was granted."""

    limit: Limit
    level: float
    retry_after_seconds: float = 0.0

    @property
    def remaining(self) -> int:
        """What could be used now."""
        return max(0, math.floor(self.level))

    @property
    def reset_after_seconds(self) -> float:
        """When it is full."""
        return self.limit.seconds_for(self.limit.burst - self.level)


class Buckets(Protocol):
    """Where the levels are kept."""

    async def take(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge all, or none if one of them has to wait; the states in the same order."""
        ...

    async def settle(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge what was used beyond what was taken, or give back (a negative cost)."""
        ...

    async def close(self) -> None:
        """Nothing is asked any more."""
        ...


class MemoryBuckets:
    """Buckets of one process. `clock` gives seconds that never go back."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_buckets: int = MAX_BUCKETS
    ) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge all or none."""
        now = self._clock()
        states = tuple(judge(charge, self._level(charge, now)) for charge in charges)
        if any(state.retry_after_seconds > 0 for state in states):
            return states
        return self._charge(charges, now)

    async def settle(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge whatever the level."""
        return self._charge(charges, self._clock())

    async def close(self) -> None:
        """Nothing to let go of."""

    def _charge(self, charges: Sequence[Charge], now: float) -> tuple[BucketState, ...]:
        states = []
        for charge in charges:
            level = min(charge.limit.burst, self._level(charge, now) - charge.cost)
            self._levels[charge.bucket] = (level, now)
            self._levels.move_to_end(charge.bucket)
            states.append(BucketState(charge.limit, level))
        while len(self._levels) > self._max_buckets:
            self._levels.popitem(last=False)
        return tuple(states)

    def _level(self, charge: Charge, now: float) -> float:
        limit = charge.limit
        level, at = self._levels.get(charge.bucket, (limit.burst, now))
        return min(limit.burst, level + (now - at) * limit.per_second)


def judge(charge: Charge, level: float) -> BucketState:
    """The bucket before the charge, and how long the charge has to wait."""
    return BucketState(charge.limit, level, charge.limit.seconds_for(charge.cost - level))
