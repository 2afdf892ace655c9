"""What keeps answers beyond this process. The cache does without one that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from localserve.response_cache.memory import Entry
from localserve.response_cache.question import Key


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """Of a store that knows: answers, their bytes, and how many had to go for others."""

    entries: int
    used_bytes: int
    evictions: int


class Store(Protocol):
    """Every method but `figures` may raise anything: whoever calls it goes on without."""

    @property
    def name(self) -> str:
        """`disk` or `redis`."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people. Never a secret."""
        ...

    async def get(self, key: Key, now: float) -> Entry | None:
        """An answer that counts at `now`, in seconds since the epoch."""
        ...

    async def put(self, key: Key, entry: Entry, now: float) -> None: ...

    async def purge(self, model: str | None) -> int:
        """Forget all answers, or those of a model; how many there were."""
        ...

    def figures(self) -> StoreFigures | None:
        """As of the last change; None where others change it, too."""
        ...

    async def close(self) -> None: ...
