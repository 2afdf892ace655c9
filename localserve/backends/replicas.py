"""The servers that have one model: which of them is asked next. Pure; lives on the event loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from localserve.backends.affinity import drawn
from localserve.backends.breaker import Breaker
from localserve.catalog.spec import Replica

SLACK: Final = 2.0
"""A conversation goes back to its own server while that has at most so many requests (by weight)
more than the least busy one: computing a prompt anew costs about as much as waiting for them."""


@dataclass(slots=True, eq=False)
class Server:
    """One of the servers; `running` are the requests that it answers for this process."""

    replica: Replica
    breaker: Breaker = field(default_factory=Breaker)
    running: int = 0

    @property
    def load(self) -> float:
        """Requests by weight."""
        return self.running / self.replica.weight


def choose_server(
    servers: Sequence[Server], conversation: str, tried: Collection[Server] = ()
) -> Server | None:
    """The server for a request: the one that has its conversation, unless it is much busier than
    the least busy one. Those of `tried` are left out; None where nobody is left."""
    able = [one for one in servers if one.breaker.lets_through and one not in tried]
    if not able:
        return None
    least = min(able, key=lambda one: one.load)
    own = min(able, key=lambda one: drawn(conversation, one.replica.base_url, one.replica.weight))
    return own if own.load - least.load <= SLACK else least
