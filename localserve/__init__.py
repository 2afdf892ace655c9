"""An embedded inference server for GGUF models.

`Client` and `AsyncClient` speak to a running server, `serve` runs one in this process, and
`application` is one to be mounted; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localserve.client import AsyncClient, Client
    from localserve.server.embedded import application, serve

__all__ = ["AsyncClient", "Client", "application", "serve"]

_PLACES = {
    "AsyncClient": "localserve.client",
    "Client": "localserve.client",
    "application": "localserve.server.embedded",
    "serve": "localserve.server.embedded",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
