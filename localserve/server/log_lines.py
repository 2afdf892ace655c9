"""What happens in a server as lines of JSON, for logs that programs read. Pure; any thread.

Each has `time` (RFC 3339, UTC), `level`, `event` and what belongs to that event; what is not known
is left out. `docs/observability.md` lists all of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from localserve.server.reports import (
    Aborting,
    Answered,
    DefaultChanged,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
    Reloaded,
)
from localserve.server.supervisor import Died, FellBack, Killed, Stopping, Told


def told_line(told: Told, at: float, url: str) -> str | None:
    """One line of JSON, or None for what is for people alone; `at` in seconds since the epoch,
    `url` where the server answers."""
    found = _described(told, url)
    if found is None:
        return None
    level, event, fields = found
    document = {"time": time_text(at), "level": level, "event": event, **fields}
    return json.dumps(document, separators=(",", ":"))


def time_text(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds; `seconds` since the epoch."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _described(told: Told, url: str) -> tuple[str, str, Mapping[str, Any]] | None:
    """Level, event and fields."""
    match told:
        case LoadProgress():
            return None
        case Answered(line, fields):
            status = fields.get("status") or 0
            level = "error" if status >= 500 else "warning" if status == 429 else "info"
            return level, "request", fields or {"message": line}
        case Note(level, text, logger, request_id):
            more = {"logger": logger, "request_id": request_id}
            named = {name: value for name, value in more.items() if value}
            return logging.getLevelName(level).lower(), "log", {"message": text, **named}
        case Live():
            return "info", "live", {"url": url}
        case Loaded(facts, seconds, memory_bytes, default):
            fields = {
                "model": facts.name,
                "file": facts.file,
                "device": facts.device,
                "context_tokens": facts.context_tokens,
                "load_seconds": round(seconds, 3),
                "memory_bytes": memory_bytes,
                "default": default,
            }
            return "info", "model_loaded", fields
        case LoadFailed(message, hint):
            return "error", "load_failed", {"message": message, "hint": hint}
        case Reloaded(spec):
            return "info", "reloaded", {"model": spec.name}
        case DefaultChanged(spec):
            return "info", "default_changed", {"model": spec.name}
        case Aborting(reason):
            return "error", "aborting", {"message": reason}
        case Stopping(seconds):
            return "info", "stopping", {"drain_seconds": seconds}
        case Died(how, reason, then):
            return "error", "worker_died", {"message": how, "reason": reason, "then": then}
        case FellBack(failed, name):
            return "warning", "fell_back", {"failed": failed, "model": name}
        case Killed(seconds):
            return "error", "worker_killed", {"after_seconds": seconds}
        case _ as never:
            assert_never(never)
