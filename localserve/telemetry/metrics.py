"""What is counted and measured of requests, for Prometheus: instruments, and nothing of requests.

A label is looked up once for each model and route, never for each token: whoever measures holds the
bound instrument. Labels come from closed sets (routes, error codes) and from the models that were
loaded, never from what a client sent. Lives on the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

FIRST_TOKEN_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BETWEEN_SECONDS: Final = (
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
)
QUEUE_SECONDS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LOAD_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
REQUEST_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Tally:
    """A histogram of one model, for what is observed with every token: a small part of what
    the library's takes, which locks and counts for any thread. Event loop only."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BETWEEN_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BETWEEN_SECONDS, seconds)] += 1
        self.total += seconds


class Tallies(Collector):
    """One tally for each model, as one metric."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._tallies: dict[str, Tally] = {}

    def of_model(self, model: str) -> Tally:
        return self._tallies.setdefault(model, Tally())

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=["model"])
        bounds = [*map(floatToGoString, BETWEEN_SECONDS), "+Inf"]
        for model, tally in self._tallies.items():
            buckets = list(zip(bounds, accumulate(tally.counts), strict=True))
            family.add_metric([model], buckets, tally.total)
        yield family


@dataclass(frozen=True, slots=True)
class ModelInstruments:
    """Those of one model. `between` takes seconds; it is the only one that is used while an answer
    comes, once for each piece that is handed over."""

    between: Callable[[float], None]
    first_token: Callable[[float], None]
    queue: Callable[[float], None]
    prompt: Callable[[float], None]
    prompt_tokens: Callable[[float], None]
    cached_tokens: Callable[[float], None]
    completion_tokens: Callable[[float], None]
    prefix_hit: Callable[[], None]
    prefix_miss: Callable[[], None]


class Instruments:
    """All of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        self._models: dict[str, ModelInstruments] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"localserve_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], label: str = "model"
        ) -> Histogram:
            return Histogram(
                f"localserve_{name}", text, (label,), registry=registry, buckets=buckets
            )

        self._requests = counter(
            "requests", "Requests that ended, by route and status.", "route", "status"
        )
        self._errors = counter("errors", "Requests that ended with an error, by its code.", "code")
        self._left = counter("clients_left", "Requests whose client left before their end.")
        self._request_seconds = histogram(
            "request_seconds", "From a request to its last byte.", REQUEST_SECONDS, "route"
        )
        self.in_flight = Gauge(
            "localserve_requests_in_flight", "Requests under way.", registry=registry
        )
        self._first_token = histogram(
            "time_to_first_token_seconds",
            "From a request to the first token of its answer, loading and waiting included.",
            FIRST_TOKEN_SECONDS,
        )
        self._between = Tallies(
            "localserve_inter_token_seconds",
            "Between two pieces of an answer as they are handed over, mostly a token each.",
        )
        registry.register(self._between)
        self._queue = histogram("queue_seconds", "Waiting for room in the engine.", QUEUE_SECONDS)
        self._prompt = histogram(
            "prompt_seconds", "Computing what of the prompt was not cached.", FIRST_TOKEN_SECONDS
        )
        self._load = histogram("load_seconds", "Loading a model.", LOAD_SECONDS)
        self._failed_loads = counter(
            "load_failures", "Loads of a model that did not succeed.", "model"
        )
        self._fallbacks = counter(
            "route_fallbacks",
            "Models that a route gave up for the next one, by why.",
            "model",
            "reason",
        )
        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts.", "model")
        self._cached_tokens = counter(
            "cached_prompt_tokens", "Tokens of prompts that were not computed again.", "model"
        )
        self._completion_tokens = counter("completion_tokens", "Tokens of answers.", "model")
        self._prefixes = counter(
            "prefix_cache_requests",
            "Answered requests, by whether a beginning of theirs was cached.",
            "model",
            "result",
        )

    def of_model(self, model: str) -> ModelInstruments:
        """Those of one model, bound once."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = ModelInstruments(
                between=self._between.of_model(model).observe,
                first_token=self._first_token.labels(model).observe,
                queue=self._queue.labels(model).observe,
                prompt=self._prompt.labels(model).observe,
                prompt_tokens=self._prompt_tokens.labels(model).inc,
                cached_tokens=self._cached_tokens.labels(model).inc,
                completion_tokens=self._completion_tokens.labels(model).inc,
                prefix_hit=self._prefixes.labels(model, "hit").inc,
                prefix_miss=self._prefixes.labels(model, "miss").inc,
            )
        return found

    def request_ended(
        self, route: str, status: int | None, error: str | None, seconds: float
    ) -> None:
        """A response is out, or could not be given; `status` None is a client that left first."""
        self._requests.labels(route, str(status or 0)).inc()
        self._request_seconds.labels(route).observe(seconds)
        if error is not None:
            self._errors.labels(error).inc()

    def fell_back(self, model: str, reason: str) -> None:
        """A route gave a model up for the next one."""
        self._fallbacks.labels(model, reason).inc()

    def client_left(self) -> None:
        """A client did not wait for its answer."""
        self._left.inc()

    def load_ended(self, model: str, seconds: float | None) -> None:
        """A model was loaded in so many seconds; None, where that failed."""
        if seconds is None:
            self._failed_loads.labels(model).inc()
        else:
            self._load.labels(model).observe(seconds)
