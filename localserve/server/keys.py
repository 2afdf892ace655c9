"""`/admin/keys`: which API keys there are; make, rotate and revoke them.

A secret is in the one answer that made it, and nowhere else. Lives on the event loop; the store is
used in a worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.chat import Priority, PriorityName
from localserve.gateway.expiry import duration_seconds, expiry_seconds
from localserve.gateway.keys import IssuedKey, KeyScope, key_document
from localserve.gateway.store import KeyStore
from localserve.server.admin import EmptyBody, read_json

DEFAULT_GRACE = "24h"


class CreateBody(BaseModel):
    """A key to be made. `expires` is a duration such as 30d, or a date."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    scope: KeyScope = "inference"
    models: list[str] = Field(default_factory=list, max_length=64)
    expires: str | None = None
    requests_per_minute: int | None = Field(default=None, ge=1, le=1 << 30)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=1 << 40)
    priority: PriorityName | None = None


class RotateBody(BaseModel):
    """For how long the old secret stays valid."""

    model_config = ConfigDict(extra="forbid", strict=True)

    grace: str = DEFAULT_GRACE


class Keys:
    """The endpoints, over one store. `on_change` is called after each change."""

    def __init__(self, store: KeyStore, on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change

    async def list(self, request: Request) -> Response:
        """All keys, the revoked ones too, without their secrets."""
        keys = await asyncio.to_thread(self._store.read)
        now = time.time()
        return JSONResponse({"keys": [key_document(key, now) for key in keys]})

    async def create(self, request: Request) -> Response:
        """Make a key; the answer is the only one that has it."""
        body = await read_json(request, CreateBody)
        now = time.time()
        issued = await asyncio.to_thread(
            self._store.create,
            body.name,
            now=now,
            scope=body.scope,
            models=body.models,
            expires_at=expiry_seconds(body.expires, now) if body.expires else None,
            requests_per_minute=body.requests_per_minute,
            tokens_per_minute=body.tokens_per_minute,
            priority=Priority[body.priority.upper()] if body.priority else None,
        )
        return self._issued(issued, now)

    async def rotate(self, request: Request) -> Response:
        """A new secret for a key; the old one stays valid for the grace time."""
        body = await read_json(request, RotateBody)
        now = time.time()
        issued = await asyncio.to_thread(
            self._store.rotate,
            request.path_params["name"],
            now=now,
            grace_seconds=duration_seconds(body.grace, "grace"),
        )
        return self._issued(issued, now)

    async def revoke(self, request: Request) -> Response:
        """End a key."""
        await read_json(request, EmptyBody)
        now = time.time()
        key = await asyncio.to_thread(self._store.revoke, request.path_params["name"], now=now)
        self._on_change()
        return JSONResponse(key_document(key, now))

    def _issued(self, issued: IssuedKey, now: float) -> Response:
        self._on_change()
        return JSONResponse(
            key_document(issued.key, now) | {"key": issued.secret},
            headers={"cache-control": "no-store"},
        )
