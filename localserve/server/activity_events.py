"""`/admin/activity/events`: what `/admin/activity` tells, as it changes, by server-sent events.

Every listener is told the newest state, at most once a second: one that reads slowly misses what
was between, and nothing piles up for it. What was collected for one serves all others for a moment,
so that many open pages cost little more than one. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from localserve.dialects import openai
from localserve.errors import LocalserveError
from localserve.gateway.credentials import presented_keys
from localserve.gateway.keyring import Keyring
from localserve.server.activity import Activity
from localserve.server.draining import draining_of
from localserve.server.feed import ClientLeft
from localserve.server.records import record_of
from localserve.server.streaming import end_of, send_head, send_text
from localserve.server.vectors import while_wanted

MEDIA_TYPE: Final = "text/event-stream"

EVERY_SECONDS: Final = 1.0
"""A listener is told of changes so often."""

SHARED_SECONDS: Final = 0.5
"""What was collected is not collected again for so long."""

SILENCE_SECONDS: Final = 5.0
"""Where nothing changes for so long, a comment says that the connection lives."""


UNTOLD_SECONDS: Final = 10.0
"""A server that does not tell when it ends is held up no longer than that; clients come again."""


class ActivityEvents:
    """The endpoint. Ends when its client leaves, when the drain begins, and when the key that let
    it in no longer counts: where a poll would be refused."""

    def __init__(self, activity: Activity, keyring: Keyring) -> None:
        self._activity = activity
        self._keyring = keyring
        self._collected: dict[str, Any] = {}
        self._collected_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Leaving is how looking ends: it is told of nobody as of a client that left its answer.
        with contextlib.suppress(ClientLeft):
            await while_wanted(self._respond(scope, send), receive)

    async def _respond(self, scope: Scope, send: Send) -> None:
        async with aclosing(self._texts(scope)) as texts:
            first = await anext(texts)
            await send_head(send, MEDIA_TYPE)
            end = ""
            if scope["method"] != "HEAD":
                await send_text(send, first)
                end = await end_of(_send_all(send, texts), scope, _last_words)
            await send_text(send, end, more=False)

    async def _texts(self, scope: Scope) -> AsyncGenerator[str, None]:
        """What is sent piece by piece. Raises: KeyMissing, KeyInvalid, KeyForbidden."""
        draining, began_at = draining_of(scope), time.monotonic()
        told: dict[str, Any] = {"ended": 0}
        said_at = began_at
        while draining is not None or time.monotonic() - began_at < UNTOLD_SECONDS:
            now = self._current()
            if now != told:
                recent = self._activity.recent(told["ended"], now["ended"])
                yield f"data: {json.dumps(now | {'recent': recent})}\n\n"
                told, said_at = now, time.monotonic()
            elif time.monotonic() - said_at >= SILENCE_SECONDS:
                yield ": keepalive\n\n"
                said_at = time.monotonic()
            if await _comes(draining or asyncio.Event(), EVERY_SECONDS):
                return
            caller = await self._keyring.identify(presented_keys(scope["headers"]))
            caller.check_admin()

    def _current(self) -> dict[str, Any]:
        """What is told but for `recent`, collected anew if it is not quite fresh."""
        if time.monotonic() - self._collected_at >= SHARED_SECONDS:
            self._collected = self._activity.now()
            self._collected_at = time.monotonic()
        return self._collected


async def _send_all(send: Send, texts: AsyncGenerator[str, None]) -> str:
    async for text in texts:
        await send_text(send, text)
    return ""


def _last_words(scope: Scope, error: LocalserveError) -> str:
    record_of(scope).error = error.code
    return f"data: {openai.error_frame(error)}\n\n"


async def _comes(event: asyncio.Event, timeout_seconds: float) -> bool:
    """Whether it is set within that time."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_seconds)
    return event.is_set()
