"""Completions that editors ask for at each keystroke: a newer one ends the one that it replaces.

The same client is one key or address with one user agent, `user` and model. The same file is the
one that the requests name; where neither names one, it is told by the texts (`typed.py`). Only
interactive completions are ever ended. Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from starlette.types import Scope

from localserve.chat import ChatRequest, CompletionRequest, InfillRequest, Priority
from localserve.errors import LocalserveError, Superseded
from localserve.gateway.caller import caller_of
from localserve.server.typed import Place, place_of, typed_on

MOST_COMPARED: Final = 16
"""Newest ones of a client; no editor has more under way."""

End = Callable[[LocalserveError], None]
"""Ends an answer with an error that its client is told. Harmless when it is complete."""

Client = tuple[str, ...]

Completion = CompletionRequest | InfillRequest


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """A completion that is being answered."""

    file: str | None
    place: Place | None
    end: End

    def replaces(self, older: UnderWay) -> bool:
        if self.file is not None or older.file is not None:
            return self.file == older.file
        if self.place is None or older.place is None:
            return False
        return typed_on(older.place, self.place)


class Keystrokes:
    """All interactive completions under way, by client, the newest last."""

    def __init__(self) -> None:
        self._under_way: dict[Client, list[UnderWay]] = {}

    @contextmanager
    def under_way(
        self, scope: Scope, request: ChatRequest | Completion, end: End
    ) -> Iterator[None]:
        """Within the block a newer request may end this one; it ends those that it replaces."""
        if isinstance(request, ChatRequest) or not _is_interactive(request):
            yield
            return
        client = _client(scope, request)
        new = UnderWay(request.file, place_of(request), end)
        known = self._under_way.setdefault(client, [])
        for older in known[-MOST_COMPARED:]:
            if new.replaces(older):
                older.end(
                    Superseded(
                        "A newer completion of the same client and file took this one's place."
                    )
                )
        known.append(new)
        try:
            yield
        finally:
            known.remove(new)
            if not known:
                self._under_way.pop(client, None)


def _is_interactive(request: Completion) -> bool:
    """Not so is what only warms the cache up: it is no answer to a keystroke."""
    wanted = request.priority in (None, Priority.INTERACTIVE)
    return wanted and request.generation.max_tokens != 0


def _client(scope: Scope, request: Completion) -> Client:
    agents = [value for name, value in scope["headers"] if name == b"user-agent"]
    return (
        caller_of(scope).prefix_scope,
        _address(scope),
        agents[0].decode("latin-1") if agents else "",
        request.user or "",
        request.model,
    )


def _address(scope: Scope) -> str:
    """Where the client is; this machine has several addresses and is one place."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    try:
        return "loopback" if ip_address(address).is_loopback else address
    except ValueError:
        return address
