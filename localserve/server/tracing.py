"""Spans of requests: what their records say, by OpenTelemetry's conventions.

Pure ASGI; lives on the event loop. There only where spans are wanted.

Source: OpenTelemetry semantic conventions 1.37, HTTP server spans and gen_ai inference spans.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.chat import Generation
from localserve.server.records import RequestRecord, record_of
from localserve.server.request_lines import shortened
from localserve.telemetry.spans import PROVIDER, Part, RequestSpan, Tracing

SERVER_ERRORS: Final = 500
"""From this status on a span is an error's; below it is the client's mistake."""

CONTEXT_HEADERS: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})


class Traced:
    """A span for each request, whose parent is the client's."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        context = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in CONTEXT_HEADERS
        }
        with self.tracing.request(context, record.method) as span:
            record.trace_id = span.trace_id
            try:
                await self.app(scope, receive, send)
            finally:
                record.end()
                _describe(span, record, scope)


def _describe(span: RequestSpan, record: RequestRecord, scope: Scope) -> None:
    """Say at its end what a request was."""
    span.name = f"{record.method} {record.route}".strip()
    attributes: dict[str, Any] = {
        "http.request.method": record.method,
        "url.path": shortened(record.path),
        "url.scheme": scope.get("scheme", "http"),
        "http.route": record.route,
        "http.response.status_code": record.status,
        "localserve.request_id": record.request_id,
        "localserve.key": record.caller,
        "localserve.client_left": record.client_left or None,
    }
    if server := scope.get("server"):
        attributes |= {"server.address": server[0], "server.port": server[1]}
    span.attributes = _known(attributes)
    if (record.status or 0) >= SERVER_ERRORS:
        span.error = record.error or str(record.status)
    if record.operation is not None:
        span.part = _part(record, record.operation)


def _part(record: RequestRecord, operation: str) -> Part:
    """The model's part, from the moment in which it was asked to the end."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": shortened(record.model or ""),
        "gen_ai.response.model": record.served_by,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.response.finish_reasons": record.finish_reasons,
        "localserve.lease_ms": record.lease_ms,
        "localserve.queue_ms": record.queue_ms,
        "localserve.prompt_ms": record.prompt_ms,
        "localserve.decode_ms": record.decode_ms,
    }
    if record.generation is not None:
        attributes |= _wishes(record.generation)
    first = record.first_token_ms
    return Part(
        f"{operation} {shortened(record.model or '')}".strip(),
        record.began_at + (record.asked_ms or 0.0) / 1e3,
        record.began_at + record.total_ms / 1e3,
        _known(attributes),
        record.began_at + first / 1e3 if first is not None else None,
        record.error,
    )


def _wishes(generation: Generation) -> dict[str, Any]:
    sampling = generation.sampling
    return {
        "gen_ai.request.max_tokens": generation.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        "gen_ai.request.presence_penalty": sampling.presence_penalty,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.choice.count": generation.choices if generation.choices > 1 else None,
    }


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    """Those that have a value."""
    return {name: value for name, value in attributes.items() if value not in (None, "", ())}
