"""The responses that were given lately, so that requests can go on from them.

Bounded in number, bytes and age, for each key and in all; the oldest go first. In memory: a restart
forgets them. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from localserve.dialects.openai.responses import Given, Item, size_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, for each scope and for all scopes together."""

    scope_responses: int = 256
    scope_bytes: int = 32 << 20
    all_bytes: int = 128 << 20
    seconds: float = 24 * 3600.0


BOUNDS = Bounds()
"""A conversation of 100 requests fits several times."""


@dataclass(frozen=True, slots=True)
class _Kept:
    given: Given
    size: int
    until: float


_Key = tuple[str, str]
"""A scope and an id."""


class ResponseStore:
    """Responses and their items by scope and id."""

    def __init__(
        self, bounds: Bounds = BOUNDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._items: dict[_Key, Item] = {}
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def keep(self, scope: str, given: Given) -> None:
        """Keep a response; what no longer fits beside it is forgotten, itself if it is too large.

        Each counts with the whole conversation before it, although they share its texts.
        """
        size = len(given.body) + sum(map(size_of, given.items))
        self._kept[scope, given.id] = _Kept(given, size, self._clock() + self._bounds.seconds)
        for item in given.output:
            self._items[scope, item.id] = item
        self._counts[scope] += 1
        self._bytes[scope] += size
        self._make_room(scope)

    def get(self, scope: str, id: str) -> Given | None:
        """The response, if it is still kept."""
        self._forget_old()
        kept = self._kept.get((scope, id))
        return kept.given if kept else None

    def item(self, scope: str, id: str) -> Item | None:
        """An item that a response has given out, while the response is kept."""
        self._forget_old()
        return self._items.get((scope, id))

    def delete(self, scope: str, id: str) -> bool:
        """Forget a response; whether it was kept."""
        self._forget_old()
        if (scope, id) not in self._kept:
            return False
        self._forget((scope, id))
        return True

    def _make_room(self, scope: str) -> None:
        self._forget_old()
        bounds = self._bounds
        while (
            self._counts[scope] > bounds.scope_responses or self._bytes[scope] > bounds.scope_bytes
        ):
            self._forget(next(key for key in self._kept if key[0] == scope))
        while self._bytes.total() > bounds.all_bytes:
            self._forget(next(iter(self._kept)))

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: _Key) -> None:
        kept = self._kept.pop(key)
        scope = key[0]
        for item in kept.given.output:
            self._items.pop((scope, item.id), None)
        self._counts[scope] -= 1
        self._bytes[scope] -= kept.size
        if not self._counts[scope]:
            del self._counts[scope], self._bytes[scope]
