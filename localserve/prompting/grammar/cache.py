"""The grammars that were used last, compiled. Not thread-safe: its owner has one thread."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LeastRecentlyUsed(Generic[Value]):
    """At most `most` values, of `most_bytes` together; a larger one is not kept at all."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """The value, which is now the last used."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: str, value: Value, size_bytes: int) -> None:
        """Keep a value; those that were not used for longest make room."""
        if size_bytes > self._most_bytes:
            return
        if key in self._values:
            self.size_bytes -= self._values.pop(key)[1]
        self._values[key] = value, size_bytes
        self.size_bytes += size_bytes
        while len(self._values) > self._most or self.size_bytes > self._most_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self.size_bytes -= freed
