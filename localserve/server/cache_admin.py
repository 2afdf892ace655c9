"""`/admin/cache`: what the response cache holds and did, for people and for Prometheus; purging it.

Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.response_cache.cache import ResponseCache
from localserve.server.admin import read_json


class PurgeBody(BaseModel):
    """Whose answers are to be forgotten: a model's, by its name as `list` shows it, or all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None


class CacheAdmin:
    """The endpoints; `cache` is None where it is off."""

    def __init__(self, cache: ResponseCache | None) -> None:
        self._cache = cache

    async def show(self, request: Request) -> Response:
        """What it holds and did since the server began."""
        return JSONResponse(_cache_fields(self._cache))

    async def purge(self, request: Request) -> Response:
        """Forget answers. Raises: CacheFailed."""
        body = await read_json(request, PurgeBody)
        gone = await self._cache.purge(body.model) if self._cache is not None else 0
        return JSONResponse({"purged": gone, "model": body.model})


def _cache_fields(cache: ResponseCache | None) -> dict[str, object]:
    """As JSON: bytes are of answers as they are kept, null is what the store does not tell."""
    if cache is None:
        return {"enabled": False}
    figures, memory, store = cache.figures, cache.memory_entries, cache.store_figures
    return {
        "enabled": True,
        "hits": figures.hits,
        "misses": figures.misses,
        "bypasses": figures.bypasses,
        "saved_tokens": figures.saved_tokens,
        "memory": {
            "entries": len(memory),
            "bytes": memory.used_bytes,
            "evictions": memory.evictions,
        },
        "store": {
            "kind": cache.store_name,
            "works": cache.store_works,
            "entries": store.entries if store else None,
            "bytes": store.used_bytes if store else None,
            "evictions": store.evictions if store else None,
        },
    }


class CacheMetrics(Collector):
    """The same for Prometheus, read when it asks."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    def describe(self) -> list[Metric]:
        """Nothing: it is collected when it is asked for, never when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        figures = self._cache.figures
        requests = CounterMetricFamily(
            "localserve_response_cache_requests",
            "Requests, by what the response cache had for them.",
            labels=["result"],
        )
        requests.add_metric(["hit"], figures.hits)
        requests.add_metric(["miss"], figures.misses)
        requests.add_metric(["bypass"], figures.bypasses)
        yield requests
        yield CounterMetricFamily(
            "localserve_response_cache_saved_tokens",
            "Tokens of prompts and answers that were given again, not computed.",
            value=figures.saved_tokens,
        )
        yield from self._held()

    def _held(self) -> Iterator[Metric]:
        """By where answers lie; a Redis does not tell."""
        memory, store = self._cache.memory_entries, self._cache.store_figures
        held = {"memory": (len(memory), memory.used_bytes, memory.evictions)}
        if store is not None:
            held[self._cache.store_name] = (store.entries, store.used_bytes, store.evictions)
        entries = GaugeMetricFamily(
            "localserve_response_cache_entries", "Answers that are kept.", labels=["tier"]
        )
        size = GaugeMetricFamily(
            "localserve_response_cache_bytes", "Bytes of them.", labels=["tier"]
        )
        evictions = CounterMetricFamily(
            "localserve_response_cache_evictions",
            "Answers that had to go for others.",
            labels=["tier"],
        )
        for tier, (count, used_bytes, evicted) in held.items():
            entries.add_metric([tier], count)
            size.add_metric([tier], used_bytes)
            evictions.add_metric([tier], evicted)
        yield entries
        yield size
        yield evictions
