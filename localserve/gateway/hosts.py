"""The check of the header Host, against pages whose own name leads here (DNS rebinding).

Such a page needs a name: an address in the header cannot be one's own. Where other machines are let
in, every request needs a key, which such a page has not. Pure ASGI; lives on the event loop.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.gateway.refusals import HostRefused

LOCAL_NAMES: Final = frozenset({"localhost"})
RESERVED_ENDINGS: Final = (".localhost", ".internal")
"""Nobody can have such a name on the internet. Source: RFC 6761; ICANN, 2024, for `internal`."""

_HOST = re.compile(r"(\[[0-9a-f:.]+(?:%[a-z0-9._-]+)?\]|[a-z0-9._-]*)(?::[0-9]{1,5})?")


class HostChecked:
    """Refuses requests for hosts that this machine is not. Raises: HostRefused."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self.app = app
        self.allowed = frozenset(name.casefold() for name in allowed) | own_names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and not is_own_host(value.decode("latin-1"), self.allowed):
                    raise HostRefused(
                        f"This server is not {value[:100].decode('latin-1')!r}.",
                        hint="Use 127.0.0.1, or set LOCALSERVE_ALLOWED_HOSTS if it is.",
                    )
        await self.app(scope, receive, send)


def is_own_host(header: str, names: frozenset[str]) -> bool:
    """Whether a header Host names this machine: by an address, or by one of `names`."""
    match = _HOST.fullmatch(header.strip().casefold())
    if match is None:
        return False
    host = match[1].strip("[]").removesuffix(".")
    return host in names or host.endswith(RESERVED_ENDINGS) or _is_address(host)


def own_names() -> frozenset[str]:
    """The names by which this machine is known to itself."""
    return LOCAL_NAMES | {socket.gethostname().casefold()} - {""}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
