"""What is kept in the cells after an answer ended, for the next requests that begin alike. Pure.

A kept prefix owns its slot. The least valuable goes first when running sequences need its slot or
its cells: what it would save, halved for every `HALF_LIFE_SECONDS` that it was not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

TokenArray = npt.NDArray[np.int32]

HALF_LIFE_SECONDS = 600.0
"""A title of 60 tokens outweighs a conversation of 2,000 after an hour in which nobody went on with
that; a conversation outweighs another of its size that was used before it."""


def common_length(first: TokenArray, second: TokenArray) -> int:
    """How many tokens both begin with."""
    length = min(len(first), len(second))
    if (
        not length or first[0] != second[0]
    ):  # most differ there, and an array costs 20 times as much
        return 0
    differs = first[:length] != second[:length]
    at = int(differs.argmax())
    return at if differs[at] else length


class KeptPrefixes:
    """The slots of all kept prefixes and when they were last used."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._used)

    def __iter__(self) -> Iterator[int]:
        return iter(self._used)

    def __contains__(self, slot: object) -> bool:
        return slot in self._used

    def keep(self, slot: int, now: float) -> None:
        """Keep what the slot holds, or count it as used at `now` (seconds, monotonic)."""
        self._used[slot] = now

    def used(self, slot: int) -> float:
        """When a kept slot was last used."""
        return self._used[slot]

    def remove(self, slot: int) -> None:
        del self._used[slot]

    def least_valuable(
        self, saves: Callable[[int], int], now: float, *, besides: int | None = None
    ) -> int | None:
        """The slot to clear next. `saves` says how many tokens a slot saves of computing."""
        slots = (slot for slot in self._used if slot != besides)
        return min(slots, key=self._value(saves, now), default=None)

    def most_valuable_first(self, saves: Callable[[int], int], now: float) -> list[int]:
        """All slots, in the order in which they are worth something."""
        return sorted(self._used, key=self._value(saves, now), reverse=True)

    def _value(
        self, saves: Callable[[int], int], now: float
    ) -> Callable[[int], tuple[float, float]]:
        def value(slot: int) -> tuple[float, float]:
            used = self._used[slot]
            return saves(slot) * 0.5 ** ((now - used) / HALF_LIFE_SECONDS), used

        return value
