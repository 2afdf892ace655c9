"""Answers in memory, the latest used ones within a bound. Event loop only."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from localserve.response_cache.question import Key


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as bytes, and until when it counts, in seconds since the epoch."""

    value: bytes
    expires_at: float


class MemoryEntries:
    """At most `most_bytes` of answers. `evictions` counts those that had to go for others."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self.used_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> bytes | None:
        """The answer, which counts as used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= now:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: Key, value: bytes, expires_at: float) -> None:
        """Keep an answer, in place of the one that was there."""
        self.drop(key)
        self._entries[key] = Entry(value, expires_at)
        self.used_bytes += len(value)
        while self.used_bytes > self._most_bytes:
            self.drop(next(iter(self._entries)))
            self.evictions += 1

    def drop(self, key: Key) -> None:
        """Forget an answer. Harmless where there is none."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= len(entry.value)

    def purge(self, model: str | None) -> int:
        """Forget all answers, or those of a model; how many there were."""
        keys = [key for key in self._entries if model is None or key.model == model]
        for key in keys:
            self.drop(key)
        return len(keys)
