"""A request as a line of the log: for people, and as JSON for programs.

Lives on the event loop.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from localserve.server.log_lines import time_text
from localserve.server.records import RequestRecord

logger = logging.getLogger("localserve.requests")

MAX_LOGGED_CHARACTERS = 200
"""Of a path or a model's name."""

_PROBED: Final = frozenset(
    {
        "/health",
        "/health/live",
        "/health/ready",
        "/health/details",
        "/metrics",
        "/admin/activity",
        "/admin/activity/events",
        "/dashboard/{name}",
    }
)


def is_probe(record: RequestRecord) -> bool:
    """Whether it only asked how the server does, every few seconds, and all was well."""
    return record.route in _PROBED and record.status in (200, 304)


def log_request(record: RequestRecord) -> None:
    """Write the one line of a request."""
    logger.info("%s", format_record(record))


def format_record(record: RequestRecord) -> str:
    """One line; what did not come to pass is left out."""
    outcome = "client left" if record.client_left else str(record.status or "no response")
    parts = [f"{record.method} {_printable(record.path)} {outcome}"]
    if record.error is not None:
        parts.append(record.error)
    if record.caller:
        parts.append(f"key {record.caller}")
    if record.model is not None:
        parts.append(_printable(record.model))
    if record.model_route is not None:
        parts.append(_printable(record.model_route))
    if record.prompt_tokens is not None:
        cached = f" ({record.cached_tokens} cached)" if record.cached_tokens else ""
        parts.append(f"prompt {record.prompt_tokens}{cached}")
    if record.cache == "hit":
        parts.append("kept answer")
    if record.completion_tokens is not None:
        parts.append(f"answer {record.completion_tokens}")
    if record.tokens_per_second is not None:
        parts.append(f"{record.tokens_per_second:.1f} tokens/s")
    if record.first_token_ms is not None:
        parts.append(f"first {record.first_token_ms:.0f} ms")
    parts.append(f"total {record.total_ms:.0f} ms")
    if record.finish_reasons:
        parts.append("+".join(record.finish_reasons))
    parts.append(record.request_id)
    return " | ".join(parts)


def _printable(text: str) -> str:
    """What a client sent, without line breaks and the like; '...' stands for the rest of it."""
    return shortened(text).encode("unicode_escape").decode()


def shortened(text: str) -> str:
    """The beginning of what a client sent, as valid text; '...' stands for the rest of it."""
    valid = text[:MAX_LOGGED_CHARACTERS].encode("utf-8", "replace").decode()
    return valid + "..." * (len(text) > MAX_LOGGED_CHARACTERS)


def request_fields(record: RequestRecord) -> dict[str, Any]:
    """All that is told of one request, at its end. Times are in milliseconds."""
    found: dict[str, Any] = {
        "time": time_text(record.began_at + record.total_ms / 1e3),
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "method": record.method,
        "path": shortened(record.path),
        "route": record.route,
        "status": record.status,
        "error": record.error,
        "client_left": record.client_left or None,
        "key": record.caller or None,
        "operation": record.operation,
        "model": shortened(record.model) if record.model is not None else None,
        "model_route": shortened(record.model_route) if record.model_route is not None else None,
        "stream": record.stream or None,
        "prompt_tokens": record.prompt_tokens,
        "cached_tokens": record.cached_tokens,
        "completion_tokens": record.completion_tokens,
        "cache": record.cache,
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
