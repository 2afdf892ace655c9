"""Answers in a Redis that servers share. It lets go of them by their time, and when its own memory
is used up, as it is configured. Lives on the event loop.
"""

from __future__ import annotations

import hashlib
from typing import Final

from localserve.redis_client import redis_client
from localserve.response_cache.memory import Entry
from localserve.response_cache.question import Key

PREFIX: Final = "localserve:responses:"
PURGED_AT_ONCE: Final = 500


class RedisStore:
    """Answers of all servers with the same Redis."""

    name = "redis"
    place = "Redis"

    def __init__(self, url: str) -> None:
        """Raises: ConfigInvalid (the package is missing, or the URL is none)."""
        self._client = redis_client(url)

    async def get(self, key: Key, now: float) -> Entry | None:
        async with self._client.pipeline(transaction=False) as asked:
            asked.get(_name(key))
            asked.pttl(_name(key))
            value, left_ms = await asked.execute()
        if value is None or left_ms <= 0:
            return None
        return Entry(value, now + left_ms / 1e3)

    async def put(self, key: Key, entry: Entry, now: float) -> None:
        left_ms = max(1, round((entry.expires_at - now) * 1e3))
        await self._client.set(_name(key), entry.value, px=left_ms)

    async def purge(self, model: str | None) -> int:
        below = PREFIX if model is None else f"{PREFIX}{_short(model)}:"
        gone, names = 0, []
        async for name in self._client.scan_iter(match=f"{below}*", count=PURGED_AT_ONCE):
            names.append(name)
            if len(names) == PURGED_AT_ONCE:
                gone += await self._client.unlink(*names)
                names.clear()
        return gone + (await self._client.unlink(*names) if names else 0)

    def figures(self) -> None:
        """Other servers change it, too."""

    async def close(self) -> None:
        await self._client.aclose()


def _name(key: Key) -> str:
    return f"{PREFIX}{_short(key.model)}:{key.digest}"


def _short(model: str) -> str:
    """A name of a model may have characters that mean something to SCAN."""
    return hashlib.blake2b(model.encode(), digest_size=8).hexdigest()
