"""One request as a JSON document, for logs that programs read.

Lives on the event loop.
"""

from __future__ import annotations

from typing import Any

from localserve.server.log_lines import time_text
from localserve.server.records import RequestRecord, shortened


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
