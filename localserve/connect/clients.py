"""All clients that are known."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from localserve.connect.agents import AGENTS
from localserve.connect.client import Client
from localserve.connect.editors import EDITORS
from localserve.errors import UsageInvalid

CLIENTS: Final = (*EDITORS, *AGENTS)


class UnknownClient(UsageInvalid):
    """No client of that name is known; `env` has the variables for all others."""

    code = "unknown_client"
    description = "No client of that name is known."


def find_client(name: str) -> Client:
    """The client of that name. Raises: UnknownClient."""
    names = [client.name for client in CLIENTS]
    for client in CLIENTS:
        if client.name == name.casefold():
            return client
    near = get_close_matches(name.casefold(), names, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownClient(
        f"No client {name!r} is known.{meant}",
        hint=f"Known: {', '.join(names)}. `localserve connect env` fits most others.",
    )
