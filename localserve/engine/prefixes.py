"""What is kept in the cells after an answer ended, for the next request that continues it. Pure.

A kept prefix owns its slot. It is found by scope and token ids, never by text, and dropped least
recently used first whenever running sequences need its cells or its slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TokenArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class KeptPrefix:
    """The computed tokens of an ended sequence. `tokens` has shape (length,)."""

    slot: int
    scope: str
    tokens: TokenArray

    def __len__(self) -> int:
        return len(self.tokens)


def common_length(first: TokenArray, second: TokenArray) -> int:
    """How many tokens both begin with."""
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    return int(differs.argmax()) if differs.any() else length


class KeptPrefixes:
    """All kept prefixes, least recently used first."""

    def __init__(self) -> None:
        self._kept: list[KeptPrefix] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[KeptPrefix]:
        return iter(self._kept)

    @property
    def cells(self) -> int:
        return sum(len(kept) for kept in self._kept)

    def keep(self, slot: int, scope: str, tokens: list[int]) -> None:
        """Keep the tokens that `slot` holds."""
        self._kept.append(KeptPrefix(slot, scope, np.array(tokens, dtype=np.int32)))

    def longest(self, scope: str, tokens: TokenArray) -> tuple[KeptPrefix | None, int]:
        """The kept prefix that shares most with `tokens`, and how much that is."""
        best: KeptPrefix | None = None
        best_length = 0
        for kept in self._kept:
            if kept.scope == scope:
                length = common_length(kept.tokens, tokens)
                if length >= best_length and length > 0:
                    best, best_length = kept, length
        return best, best_length

    def touch(self, kept: KeptPrefix) -> None:
        """Count it as used now."""
        self._kept.remove(kept)
        self._kept.append(kept)

    def remove(self, kept: KeptPrefix) -> None:
        self._kept.remove(kept)

    def oldest(self, *, besides: KeptPrefix | None = None) -> KeptPrefix | None:
        """The one to drop next."""
        return next((kept for kept in self._kept if kept is not besides), None)
