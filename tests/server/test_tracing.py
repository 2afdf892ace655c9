"""Spans by OpenTelemetry's own exporter into memory."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from localserve.config import read_settings
from localserve.errors import ConfigInvalid, EngineFailed
from localserve.server.observing import check_observing, tracing_for
from localserve.telemetry import spans
from localserve.telemetry.spans import Seldom, Tracing
from localserve.testing import FakeBackend
from tests.server.conftest import CHAT, HELLO, Serve

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")


class Collected:
    """A tracer, and the spans that it made."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        provider = sdk.TracerProvider()
        self._exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def take(self) -> tuple[Any, ...]:
        """What came since the last call, by name."""
        found = self._exporter.get_finished_spans()
        self._exporter.clear()
        return tuple(sorted(found, key=lambda span: str(span.kind)))


@pytest.fixture
def collected() -> Iterator[Collected]:
    made = Collected()
    yield made
    made.tracing.close()


async def test_a_request_has_a_span_and_the_model_one_within(
    call: Serve, collected: Collected
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = HELLO | {"max_tokens": 1, "temperature": 0.5, "seed": 7, "stream": True}
    async with call(arguments={"tracing": collected.tracing}) as served:
        await served.client.post(
            CHAT, json=body, headers={"traceparent": parent, "x-request-id": "mine"}
        )
        assert (await served.record()).trace_id == "0af7651916cd43dd8448eb211c80319c"
    model, request = collected.take()
    assert request.name == "POST /chat/completions"
    assert request.kind.name == "SERVER"
    assert format(request.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert format(request.parent.span_id, "016x") == "b7ad6b7169203331"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.request.method"] == "POST"
    assert request.attributes["http.route"] == "/chat/completions"
    assert request.attributes["localserve.request_id"] == "mine"
    assert model.name == "chat fake"
    assert model.kind.name == "INTERNAL"
    assert model.parent.span_id == request.context.span_id
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "localserve",
        "gen_ai.request.model": "fake",
        "gen_ai.response.model": "fake",
        "gen_ai.request.max_tokens": 1,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 1,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "localserve.prompt_ms": 10.0,
    }
    attributes = dict(model.attributes)
    assert tuple(attributes["gen_ai.response.finish_reasons"]) == ("length",)
    assert {name: attributes.get(name) for name in expected} == expected
    (first,) = model.events
    assert first.name == "first_token"
    assert model.start_time <= first.timestamp <= model.end_time
    assert request.start_time <= model.start_time
    said = repr(dict(model.attributes)) + repr(dict(request.attributes))
    assert "Hello" not in said


@pytest.mark.parametrize(
    ("path", "body", "operation"),
    [
        ("/v1/completions", {"prompt": "a"}, "text_completion"),
        ("/v1/embeddings", {"input": "a"}, "embeddings"),
        ("/v1/rerank", {"query": "a", "documents": ["a"]}, "rerank"),
        ("/v1/responses", {"input": "a"}, "chat"),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}, "text_completion"),
    ],
)
async def test_each_kind_of_request_has_the_conventions_name(
    call: Serve, collected: Collected, path: str, body: dict[str, object], operation: str
) -> None:
    async with call(arguments={"tracing": collected.tracing}) as served:
        assert (await served.client.post(path, json=body)).status_code == 200
    model, _ = collected.take()
    assert model.name == f"{operation} fake"
    assert model.attributes["gen_ai.usage.input_tokens"] >= 1


async def test_what_fails_is_marked_with_its_code(call: Serve, collected: Collected) -> None:
    backend = FakeBackend(failure=EngineFailed("broken"), failure_after=1)
    async with call(backend, arguments={"tracing": collected.tracing}) as served:
        for stream in (False, True):
            await served.client.post(CHAT, json=HELLO | {"stream": stream})
            model, request = collected.take()
            assert model.status.status_code.name == "ERROR"
            assert model.attributes["error.type"] == "engine_failed"
            assert (request.status.status_code.name == "ERROR") is not stream, "200 went out before"
        await served.client.get("/nothing")
        (request,) = collected.take()
        assert request.name == "GET"
        assert request.status.status_code.name == "UNSET", "the client's mistake"
        assert "http.route" not in request.attributes


async def test_spans_of_what_runs_within_lie_below(call: Serve, collected: Collected) -> None:
    tracer = collected.tracing._tracer

    def script(messages: object) -> str:
        with tracer.start_as_current_span("within"):
            return "answer"

    async with call(FakeBackend(script), arguments={"tracing": collected.tracing}) as served:
        await served.client.post(CHAT, json=HELLO)
    found = {span.name: span for span in collected.take()}
    assert found["within"].parent.span_id == found["POST /chat/completions"].context.span_id


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(environ={"LOCALSERVE_TRACES": "true"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setattr("localserve.server.observing.find_spec", lambda name: None)
    for ask in (lambda: check_observing(settings), lambda: tracing_for(settings, "1")):
        with pytest.raises(ConfigInvalid, match="not installed") as refused:
            ask()
        assert "localserve[otel]" in refused.value.hint


def test_nothing_of_it_is_loaded_where_no_spans_are_wanted() -> None:
    program = (
        "import sys; from localserve.config import read_settings;"
        "from localserve.server.app import create_app;"
        "from localserve.testing import FakeBackend, fake_manager;"
        "create_app(fake_manager(FakeBackend()), read_settings(environ={}));"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class EndingBadly:
    """A provider whose end fails, or never comes."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()

    def get_tracer(self, name: str) -> None:
        return None

    def shutdown(self) -> None:
        self.asked.set()
        self.go.wait()
        raise ConnectionError("gone")


def test_the_end_waits_for_no_collector_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "END_SECONDS", 0.01)
    provider = EndingBadly()
    Tracing(provider).close()
    assert provider.asked.is_set()
    provider.go.set()
    monkeypatch.setattr(spans, "END_SECONDS", 20.0)
    Tracing(provider).close()


def test_a_collector_that_does_not_answer_fills_no_log() -> None:
    now = 0.0
    seldom = Seldom(60.0, lambda: now)
    record = logging.makeLogRecord({"msg": "cannot be reached"})
    assert [seldom.filter(record), seldom.filter(record)] == [True, False]
    now = 59.0
    assert not seldom.filter(record)
    now = 60.0
    assert [seldom.filter(record), seldom.filter(record)] == [True, False]
