"""What happens in a server as JSON documents, for logs that programs read. Pure; any thread.

Each has `time` (RFC 3339, UTC), `level`, `event` and what belongs to that event; what is not known
is left out. `docs/observability.md` lists all of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from localserve.server.records import RequestRecord, shortened
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

Fields = dict[str, Any]


def request_fields(record: RequestRecord) -> Fields:
    """All that is told of one request. Times are in milliseconds."""
    found: Fields = {
        "request_id": record.request_id,
        "method": record.method,
        "path": shortened(record.path),
        "route": record.route,
        "status": record.status,
        "error": record.error,
        "client_left": record.client_left or None,
        "key": record.caller or None,
        "operation": record.operation,
        "model": shortened(record.model) if record.model is not None else None,
        "stream": record.stream or None,
        "prompt_tokens": record.prompt_tokens,
        "cached_tokens": record.cached_tokens,
        "completion_tokens": record.completion_tokens,
        "pieces": record.answer_pieces or None,
        "finish_reasons": list(record.finish_reasons) or None,
        "tokens_per_second": record.tokens_per_second,
        "lease_ms": record.lease_ms,
        "queue_ms": record.queue_ms,
        "prompt_ms": record.prompt_ms,
        "first_token_ms": record.first_token_ms,
        "decode_ms": record.decode_ms,
        "total_ms": record.total_ms,
    }
    if record.excerpt is not None:
        found["request_body"] = record.excerpt.request_text() or None
        found["answer"] = record.excerpt.answer_text() or None
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in found.items()
        if value is not None and value != ""
    }


def told_line(told: Told, at: float, url: str) -> str | None:
    """One line of JSON, or None for what is for people alone; `at` in seconds since the epoch,
    `url` where the server answers."""
    found = _described(told, url)
    if found is None:
        return None
    level, event, fields = found
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    document = {"time": time.replace("+00:00", "Z"), "level": level, "event": event, **fields}
    return json.dumps(document, separators=(",", ":"))


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
