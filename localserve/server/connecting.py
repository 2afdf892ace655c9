"""`/admin/connect`: what each client must be told to use this server. Lives on the event loop; the
disk is looked at in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.connect.client import Client
from localserve.connect.clients import CLIENTS
from localserve.connect.places import Surroundings, this_account
from localserve.connect.served import PLACEHOLDER_KEY, NothingToConnect, Served, parse_models
from localserve.gateway.caller import caller_of
from localserve.server.admin import Admin

KEY_TO_FILL_IN: Final = "YOUR_API_KEY"
"""Stands where a client needs a key: the server does not know one."""


class Connecting:
    """The endpoint, over what is loaded."""

    def __init__(self, admin: Admin, account: Callable[[], Surroundings] = this_account) -> None:
        self._admin = admin
        self._account = account

    async def show(self, request: Request) -> Response:
        """Every client: whether it is installed on the server's machine, the files it reads there
        with what must stand in them, variables, steps; or the problem, where nothing fits."""
        host = request.headers.get("host") or "127.0.0.1"
        served = Served(
            f"{request.url.scheme}://{host}",
            parse_models(self._admin.document()),
            KEY_TO_FILL_IN if caller_of(request.scope).name else PLACEHOLDER_KEY,
        )
        clients = await asyncio.to_thread(_all_fields, served, self._account)
        return JSONResponse(
            {"url": served.url, "needs_key": served.has_key, "clients": clients},
            headers={"cache-control": "no-store"},
        )


def _all_fields(served: Served, account_of: Callable[[], Surroundings]) -> list[dict[str, Any]]:
    account = account_of()
    return [_fields(client, served, account) for client in CLIENTS]


def _fields(client: Client, served: Served, account: Surroundings) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": client.name,
        "title": client.title,
        "installed": client.installed(account),
        "routes": list(client.routes),
        "least_context_tokens": client.least_context_tokens,
        "files": [],
        "variables": {},
        "steps": [],
        "problem": None,
    }
    try:
        files = [
            {"path": str(file.path(account)), "snippet": file.snippet(served)}
            for file in client.files_for(account)
        ]
        return fields | {
            "files": files,
            "variables": client.variables(served),
            "steps": client.instructions(served),
        }
    except NothingToConnect as error:
        return fields | {"problem": str(error)}
