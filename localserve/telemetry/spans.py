"""OpenTelemetry: a span for each request, and within it one for the model's part, by the gen_ai
conventions.

The package is an extra (`localserve[otel]`) and is imported when tracing is switched on, not
before. Where spans go, and what the service is called, is OpenTelemetry's own configuration
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` ...). Texts are never in
a span. Any thread; spans are sent from one of the library's own.

Source: OpenTelemetry semantic conventions, `gen_ai` spans and HTTP server spans.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

SCOPE: Final = "localserve"
PROVIDER: Final = "localserve"
"""The value of `gen_ai.provider.name`."""

END_SECONDS: Final = 2.0
"""How long the end of the server waits for spans to be sent."""

SILENCE_SECONDS: Final = 60.0
"""A collector that does not answer is told of this often."""

Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]


class PackageMissing(Exception):
    """The package that sends spans is not installed."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a model did for a request: a span of its own. Seconds since the epoch."""

    name: str
    began_at: float
    ended_at: float
    attributes: Attributes
    first_token_at: float | None = None
    error: str | None = None


@dataclass(slots=True)
class RequestSpan:
    """What is told of a request at its end. `trace_id` says in 32 hexadecimal digits which trace it
    belongs to."""

    name: str = ""
    trace_id: str = ""
    attributes: Attributes = field(default_factory=dict)
    part: Part | None = None
    error: str | None = None


class Tracing:
    """Makes spans with `provider`, an OpenTelemetry TracerProvider."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import propagate

        self._provider = provider
        self._tracer = provider.get_tracer(SCOPE)
        self._extract = propagate.extract

    @contextmanager
    def request(self, headers: Mapping[str, str], name: str) -> Iterator[RequestSpan]:
        """A span for what happens in the block, below the client's own where `headers` name it.

        It is the current span there, so that spans of other libraries lie below it. What the
        block fills in is told at its end.
        """
        from opentelemetry.trace import SpanKind, format_trace_id

        told = RequestSpan(name)
        with self._tracer.start_as_current_span(
            name,
            context=self._extract(headers),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            told.trace_id = format_trace_id(span.get_span_context().trace_id)
            try:
                yield told
            finally:
                if span.is_recording():
                    span.update_name(told.name)
                    span.set_attributes(told.attributes)
                    _mark(span, told.error)
                    if told.part is not None:
                        self._tell_part(told.part)

    def _tell_part(self, part: Part) -> None:
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            part.name,
            kind=SpanKind.INTERNAL,
            attributes=part.attributes,
            start_time=_nanoseconds(part.began_at),
        )
        if part.first_token_at is not None:
            span.add_event("first_token", timestamp=_nanoseconds(part.first_token_at))
        _mark(span, part.error)
        span.end(_nanoseconds(part.ended_at))

    def close(self) -> None:
        """Send what is left. Blocks for `END_SECONDS` at most, whatever the collector does."""
        ending = threading.Thread(target=self._end, name="last spans", daemon=True)
        ending.start()
        ending.join(END_SECONDS)

    def _end(self) -> None:
        with contextlib.suppress(Exception):  # a collector that is gone is no reason to fail
            self._provider.shutdown()


def otlp_tracing(version: str) -> Tracing:
    """Spans to where OpenTelemetry's own variables say, by OTLP over HTTP.

    Raises: PackageMissing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise PackageMissing(str(error)) from None
    ours = {"service.name": SCOPE, "service.version": version}
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(Seldom(SILENCE_SECONDS))
    return Tracing(provider)


class Seldom(logging.Filter):
    """Lets a line through, and no other for some time."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._last: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if self._last is not None and now - self._last < self._seconds:
            return False
        self._last = now
        return True


def _mark(span: Any, error: str | None) -> None:
    if error is None:
        return
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
