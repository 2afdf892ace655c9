"""`GET /metrics`: counters and histograms of requests, and what engines and memory are like now,
for Prometheus.

Gauges are read when they are asked for and cost nothing in between. Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from localserve.backends.base import EngineStatus
from localserve.manager import ModelManager, ModelReport
from localserve.server.admin import state_name
from localserve.server.records import RequestRecord
from localserve.telemetry.metrics import Instruments

NO_ROUTE: Final = "none"
"""The label of requests that were refused before they were routed, or led nowhere."""

_STATES: Final = ("loading", "loaded", "failed", "unloaded")


class Metrics:
    """The endpoint, and what records of requests add to its figures."""

    def __init__(self, manager: ModelManager, version: str) -> None:
        self._instruments = Instruments()
        self._instruments.registry.register(_Present(manager, version))
        manager.watch_loads(self._instruments.load_ended)

    def add(self, collector: Collector) -> None:
        """Show what this one collects, too."""
        self._instruments.registry.register(collector)

    async def show(self, request: Request) -> Response:
        """All figures, in the text format that is asked for."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._instruments.registry), headers={"content-type": content_type})

    def begin(self, record: RequestRecord) -> None:
        """A request came."""
        self._instruments.in_flight.inc()
        record.measure_of = self._measure_of

    def end(self, record: RequestRecord) -> None:
        """A request ended."""
        instruments = self._instruments
        instruments.in_flight.dec()
        route = record.route or NO_ROUTE
        instruments.request_ended(route, record.status, record.error, record.total_ms / 1e3)
        for model, reason in record.given_up:
            instruments.fell_back(model, reason)
        if record.client_left:
            instruments.client_left()
        if record.served_by is not None and record.is_computed:
            self._count_answer(record, record.served_by)

    def _measure_of(self, model: str) -> Callable[[float], None]:
        return self._instruments.of_model(model).between

    def _count_answer(self, record: RequestRecord, model: str) -> None:
        of_model = self._instruments.of_model(model)
        of_model.prompt_tokens(record.prompt_tokens_used)
        of_model.completion_tokens(record.answer_tokens_used)
        if record.first_token_ms is not None and record.cache != "hit":
            of_model.first_token(record.first_token_ms / 1e3)
        if record.queue_ms is not None:
            of_model.queue(record.queue_ms / 1e3)
        if record.prompt_ms is not None:
            of_model.prompt(record.prompt_ms / 1e3)
        if record.cached_tokens is not None:
            of_model.cached_tokens(record.cached_tokens)
            (of_model.prefix_hit if record.cached_tokens else of_model.prefix_miss)()


class _Present(Collector):
    """What is so at the moment in which it is asked for."""

    def __init__(self, manager: ModelManager, version: str) -> None:
        self._manager = manager
        self._version = version

    def describe(self) -> list[Metric]:
        """Nothing: it is collected when it is asked for, never when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        info = InfoMetricFamily("localserve_build", "Which localserve this is.")
        info.add_metric([], {"version": self._version})
        yield info
        yield from self._memory()
        yield from _models(self._manager.report())

    def _memory(self) -> Iterator[Metric]:
        ledger = self._manager.ledger
        held, capacity = ledger.charge(ledger.held), ledger.capacity
        for name, text, sizes in (
            (
                "held",
                "Held by models",
                {device: held.get(device, 0) for device in {*held, *capacity}},
            ),
            ("capacity", "The most that models may hold now", capacity),
        ):
            family = GaugeMetricFamily(
                f"localserve_device_memory_{name}_bytes", f"{text}, by device.", labels=["device"]
            )
            for device in sorted(sizes):
                family.add_metric([device], sizes[device])
            yield family


def _models(reports: tuple[ModelReport, ...]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "localserve_model_state", "1 for the state that a model is in.", labels=["model", "state"]
    )
    held = GaugeMetricFamily(
        "localserve_model_memory_bytes", "Held by a model.", labels=["model", "device"]
    )
    for report in reports:
        for state in _STATES:
            is_so = state == state_name(report.state)
            states.add_metric([report.spec.name, state], float(is_so))
        for device, size in report.device_bytes.items():
            held.add_metric([report.spec.name, device], size)
    yield states
    yield held
    yield from _engines(reports)


_MODEL: Final[tuple[tuple[str, str, Callable[[ModelReport], float]], ...]] = (
    ("model_requests", "Requests that a model answers now.", lambda one: one.leases),
    ("model_waiting", "Requests that wait for a model to be loaded.", lambda one: one.waiting),
)
_ENGINE: Final[tuple[tuple[str, str, Callable[[EngineStatus], float]], ...]] = (
    ("running", "Sequences that are computed together.", lambda one: one.running),
    ("waiting", "Sequences that wait for room.", lambda one: one.waiting),
    ("cells", "Tokens of context that there is room for.", lambda one: one.cells),
    ("cells_used", "Tokens that lie there.", lambda one: one.cells_used),
    ("cells_kept", "Of those, what no sequence runs on.", lambda one: one.cells_kept),
    ("disk_bytes", "What kept prefixes take on disk.", lambda one: one.disk_bytes),
    (
        "step_age_seconds",
        "How long the present step takes already; 0 while there is no work.",
        lambda one: one.step_age_seconds,
    ),
    (
        "tokens_per_second",
        "Of all answers together, in the last step.",
        lambda one: one.tokens_per_second,
    ),
)

_GUESSES: Final[tuple[tuple[str, str, Callable[[EngineStatus], int]], ...]] = (
    (
        "guessed_tokens",
        "Tokens of answers that were guessed ahead.",
        lambda one: one.guessed_tokens,
    ),
    ("right_tokens", "Of those, what came out right.", lambda one: one.right_tokens),
)


def _engines(reports: tuple[ModelReport, ...]) -> Iterator[Metric]:
    """A model that is not loaded has no engine, and no such figures."""
    for name, text, of_model in _MODEL:
        gauge = GaugeMetricFamily(f"localserve_{name}", text, labels=["model"])
        for report in reports:
            gauge.add_metric([report.spec.name], of_model(report))
        yield gauge
    engines = [(one.spec.name, one.status) for one in reports if one.status is not None]
    for name, text, of_engine in _ENGINE:
        gauge = GaugeMetricFamily(f"localserve_engine_{name}", text, labels=["model"])
        for model, status in engines:
            gauge.add_metric([model], of_engine(status))
        yield gauge
    steps = CounterMetricFamily("localserve_engine_steps", "Steps computed.", labels=["model"])
    for model, status in engines:
        steps.add_metric([model], status.steps)
    yield steps
    for name, text, count in _GUESSES:
        counter = CounterMetricFamily(f"localserve_engine_{name}", text, labels=["model"])
        for model, status in engines:
            counter.add_metric([model], count(status))
        yield counter
