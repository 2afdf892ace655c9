"""The app over a fake backend, with all that surrounds the engine or with nothing of it.

Run by `gateway_cost.py` as a process of its own: it prints its address and key as JSON and serves
until it is ended. 'On' has a key from the store, limits of requests and tokens, the check of hosts
and origins, metrics, a line of JSON for each request on its way to the log as in a worker, and
spans that are made, gathered and written as JSON where OpenTelemetry is installed. 'Off' has the
routes alone: no key is looked at, nothing is counted, logged or measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.config import Settings, read_settings
from localserve.gateway.caller import ANYONE, with_caller
from localserve.gateway.limits import RateLimits
from localserve.gateway.metered import Metered
from localserve.gateway.redis_buckets import buckets_for
from localserve.gateway.store import key_store
from localserve.server.app import create_app
from localserve.server.records import Recorded, RequestRecord
from localserve.server.reporter import Reporter
from localserve.server.reports import Answered
from localserve.server.request_lines import format_record, request_fields
from localserve.server.web import WebServer
from localserve.telemetry.spans import Tracing
from localserve.testing import FakeBackend, fake_manager

PLENTY = {"requests_per_minute": 1 << 30, "tokens_per_minute": 1 << 40}
"""Limits that are counted and never reached."""


def main(
    home: Annotated[Path, typer.Argument(help="A folder for the key.")],
    on: Annotated[bool, typer.Option("--on/--off")],
    token_ms: Annotated[float, typer.Option(help="Between two tokens of an answer.")],
    tokens: Annotated[int, typer.Option(help="Of the longest answer.")],
) -> None:
    """Serve on a free port."""
    environ = {"LOCALSERVE_HOME": str(home), "LOCALSERVE_LOG_FORMAT": "json"}
    settings = read_settings(PLENTY if on else {}, environ)
    backend = FakeBackend("word " * tokens, token_delay_seconds=token_ms / 1e3)
    key = key_store(settings).create("load", now=time.time()).secret if on else None
    app = _app_with_all(backend, settings) if on else _app_alone(backend, settings)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def tell() -> None:
        print(json.dumps({"url": url, "key": key}), flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(WebServer(app, settings, tell).serve([listener]))


def _app_with_all(backend: FakeBackend, settings: Settings) -> Starlette:
    reporter = Reporter(open(os.devnull, "wb"))  # noqa: SIM115 (as long as the process lives)

    def log(record: RequestRecord) -> None:
        reporter.report(Answered(format_record(record), request_fields(record)))

    return create_app(fake_manager(backend), settings, on_request=log, tracing=_tracing())


def _app_alone(backend: FakeBackend, settings: Settings) -> Starlette:
    app = create_app(fake_manager(backend), settings)
    # What endpoints cannot be without: a record, a caller, and a meter, which measures nothing.
    app.user_middleware = [
        Middleware(Recorded, on_request=lambda record: None),
        Middleware(_Unasked),
        Middleware(
            Metered,
            limits=RateLimits(),
            buckets=buckets_for(settings),
            add_headers=lambda scope, headers: None,
        ),
    ]
    return app


def _tracing() -> Tracing | None:
    """Spans that nobody gets; None where OpenTelemetry is not installed."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Dropped()))
    return Tracing(provider)


class _Dropped:
    """An exporter (of OpenTelemetry's protocol) that writes spans into no file."""

    def export(self, spans: Sequence[Any]) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        for span in spans:
            span.to_json(indent=None)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class _Unasked:
    """Lets everybody in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(with_caller(scope, ANYONE), receive, send)


if __name__ == "__main__":
    typer.run(main)
