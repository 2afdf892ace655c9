"""Token buckets in Redis, for servers that share their limits.

Redis does the arithmetic of `bucket.py`, by its own clock, all charges of a request at once. Where
it fails or is slow, this process counts by itself for a while: limits never stop an answer because
Redis is down, and are never lifted by that. Lives on the event loop.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from localserve.config import Settings
from localserve.gateway.bucket import Buckets, BucketState, Charge, MemoryBuckets, judge
from localserve.redis_client import PAUSE_SECONDS, redis_client

log = logging.getLogger(__name__)

PREFIX: Final = "localserve:limits:"

_SCRIPT: Final = """
local time = redis.call("TIME")
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local charge = true
local levels = {}
for i, bucket in ipairs(KEYS) do
    local burst, rate, cost =
        tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local held = redis.call("HMGET", bucket, "level", "at")
    levels[i] = burst
    if held[1] and held[2] then
        local passed = math.max(0, now - tonumber(held[2]))
        levels[i] = math.min(burst, tonumber(held[1]) + passed * rate)
    end
    if cost > levels[i] then charge = false end
end
charge = charge or ARGV[1] == "settle"
local answer = {charge and 1 or 0}
for i, bucket in ipairs(KEYS) do
    local burst, rate, cost =
        tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    if charge then levels[i] = math.min(burst, levels[i] - cost) end
    local level = string.format("%.6f", levels[i])
    redis.call("HSET", bucket, "level", level, "at", string.format("%.6f", now))
    redis.call("PEXPIRE", bucket, math.ceil((burst - levels[i]) / rate * 1000) + 1000)
    answer[i + 1] = level
end
return answer
"""
"""Also what is refused is written: a clock that was set back costs no more than what had passed."""


class RedisBuckets:
    """Buckets of all servers with the same Redis. `clock` gives seconds that never go back."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises: ConfigInvalid (the package is missing, or the URL is none)."""
        self._client = redis_client(url)
        self._script = self._client.register_script(_SCRIPT)
        self._clock = clock
        self._alone = MemoryBuckets(clock)
        self._alone_until = -PAUSE_SECONDS

    async def take(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge all or none."""
        answer = await self._ask("take", charges)
        if answer is None:
            return await self._alone.take(charges)
        granted, levels = answer
        if granted:
            return _states(charges, levels)
        return tuple(judge(charge, level) for charge, level in zip(charges, levels, strict=True))

    async def settle(self, charges: Sequence[Charge]) -> tuple[BucketState, ...]:
        """Charge whatever the level."""
        answer = await self._ask("settle", charges)
        return await self._alone.settle(charges) if answer is None else _states(charges, answer[1])

    async def ping(self) -> None:
        """Ask whether it is there. Raises: what the library raises where it is not."""
        await self._client.ping()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _ask(
        self, mode: Literal["take", "settle"], charges: Sequence[Charge]
    ) -> tuple[bool, list[float]] | None:
        """Whether it was charged, and the levels; None where Redis does not answer."""
        if not charges:
            return True, []
        if self._clock() < self._alone_until:
            return None
        arguments: list[str | float] = [mode]
        for charge in charges:
            arguments += [charge.limit.burst, charge.limit.per_second, charge.cost]
        try:
            granted, *found = await self._script(
                keys=[PREFIX + charge.bucket for charge in charges], args=arguments
            )
            levels = [float(level) for level in found]
            if len(levels) != len(charges) or not all(map(math.isfinite, levels)):
                raise ValueError(f"it has the levels {levels} for {len(charges)} buckets")
        except Exception as error:  # whatever a broken one makes of the library: answers go on
            self._alone_until = self._clock() + PAUSE_SECONDS
            why = str(error) or type(error).__name__
            log.warning("Redis keeps no rate limits for %.0f s: %s", PAUSE_SECONDS, why)
            return None
        return bool(granted), levels


def buckets_for(settings: Settings) -> Buckets:
    """Where the configuration wants the levels to be kept. Raises: ConfigInvalid."""
    return RedisBuckets(settings.redis_url) if settings.redis_url else MemoryBuckets()


def _states(charges: Sequence[Charge], levels: Sequence[float]) -> tuple[BucketState, ...]:
    return tuple(
        BucketState(charge.limit, level) for charge, level in zip(charges, levels, strict=True)
    )
