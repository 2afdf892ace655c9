"""`/admin/activity` and `/admin/requests/{id}/cancel`: what is answered now and was of late; ending
a request by hand.

Keeps figures of requests, never a text of one. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.gateway.paths import is_admin_path, is_unmetered_path, route_path
from localserve.server.admin import Admin, EmptyBody, read_json
from localserve.server.errors import RequestNotRunning, request_cancelled
from localserve.server.paths import normal_path
from localserve.server.records import RequestRecord
from localserve.server.request_lines import request_fields, shortened

MOST_KEPT: Final = 100
"""So many requests that ended are remembered."""

_TEXTS: Final = frozenset({"request_body", "answer"})


class Activity:
    """The endpoints, over the records of all requests."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._running: dict[int, RequestRecord] = {}
        self._recent: deque[tuple[int, dict[str, object]]] = deque(maxlen=MOST_KEPT)
        self._ended = 0

    def begin(self, record: RequestRecord) -> None:
        """A request came."""
        if _is_told(record):
            self._running[id(record)] = record

    def end(self, record: RequestRecord) -> None:
        """A request ended."""
        if self._running.pop(id(record), None) is None:
            return
        if record.model is None and (record.status or 0) < 400:
            return  # it asked nothing of a model, and all was well
        self._ended += 1
        fields = {name: one for name, one in request_fields(record).items() if name not in _TEXTS}
        self._recent.append((self._ended, fields))

    async def show(self, request: Request) -> Response:
        """What `/admin/models` tells, `running` requests, and `recent` ones that ended after the
        number in the query's `after` (as `ended` gave it the last time), newest first."""
        after = request.query_params.get("after", "0")
        number = int(after) if after.isascii() and after.isdigit() and len(after) < 16 else 0
        return JSONResponse(
            self.now() | {"recent": self.recent(number, self._ended)},
            headers={"cache-control": "no-store"},
        )

    def now(self) -> dict[str, Any]:
        """What `show` answers, but for `recent`; `ended` counts the requests that ended."""
        running = [record for record in self._running.values() if record.model is not None]
        return self._admin.document() | {
            "running": [_running_fields(record) for record in running],
            "ended": self._ended,
        }

    def recent(self, after: int, until: int) -> list[dict[str, object]]:
        """The requests that ended after that number and until this one, newest first."""
        return [fields for ended, fields in reversed(self._recent) if after < ended <= until]

    async def cancel(self, request: Request) -> Response:
        """End a request that is answered now: its client gets the error request_cancelled. Of
        several that gave themselves the same id, all. Raises: RequestNotRunning."""
        await read_json(request, EmptyBody)
        name: str = request.path_params["name"]
        found = [
            record.cancel
            for record in self._running.values()
            if record.request_id == name and record.cancel is not None
        ]
        if not found:
            raise RequestNotRunning(
                f"No request {name[:128]!r} is running that can be cancelled.",
                hint="GET /admin/activity lists those that run.",
            )
        for cancel in found:
            cancel(request_cancelled())
        return JSONResponse({"request_id": name, "cancelled": len(found)})


def _is_told(record: RequestRecord) -> bool:
    """Administration and what tells how the server does is not what it is there for."""
    path = route_path({"path": normal_path(record.path)})
    return not (is_admin_path(path) or is_unmetered_path(path))


def _running_fields(record: RequestRecord) -> dict[str, object]:
    return {
        "request_id": record.request_id,
        "path": shortened(record.path),
        "key": record.caller or None,
        "model": shortened(record.model or ""),
        "stream": record.stream,
        "prompt_tokens": record.prompt_tokens,
        "pieces": record.answer_pieces,
        "first_token_ms": record.first_token_ms,
        "elapsed_ms": round((time.monotonic() - record.started) * 1e3, 3),
        "can_cancel": record.cancel is not None,
    }
