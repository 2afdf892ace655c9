"""The routes by the API that they belong to, and who answers them. Lives on the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

from localserve.config import Settings
from localserve.gateway.paths import EVENTS_PATH
from localserve.manager import ModelManager
from localserve.server import llama_server
from localserve.server.activity import Activity
from localserve.server.activity_events import ActivityEvents
from localserve.server.admin import Admin
from localserve.server.cache_admin import CacheAdmin
from localserve.server.chat import AnswerEndpoint, Exchange, chat_exchange, completion_exchange
from localserve.server.connecting import Connecting
from localserve.server.errors import describe_error
from localserve.server.fitting import Fitting
from localserve.server.health import Health
from localserve.server.keys import Keys
from localserve.server.library import DiscardEndpoint
from localserve.server.lm_studio import LmStudioModels
from localserve.server.messages import COUNT, MESSAGE
from localserve.server.metrics import Metrics
from localserve.server.models import Models
from localserve.server.response_store import ResponseStore
from localserve.server.responses import ResponseEndpoint, Responses
from localserve.server.routes import RouteExplanation
from localserve.server.settings import EffectiveSettings
from localserve.server.shelf import Shelf
from localserve.server.vectors import EMBEDDING, RERANK, AtOnceEndpoint
from localserve.server.vectors import Exchange as AtOnceExchange


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints are made of; `fingerprint` names what answers."""

    manager: ModelManager
    settings: Settings
    headers_after_seconds: float
    fingerprint: str

    def answers(self, exchange: Exchange[Any]) -> AnswerEndpoint[Any]:
        """Text, whole or as a stream."""
        return AnswerEndpoint(
            exchange,
            self.manager,
            self.settings,
            headers_after_seconds=self.headers_after_seconds,
        )

    def at_once(self, exchange: AtOnceExchange[Any, Any]) -> AtOnceEndpoint[Any, Any]:
        """Whatever comes in one piece."""
        return AtOnceEndpoint(exchange, self.manager, self.settings)


class Endpoints:
    """Those that several APIs have, under paths of their own."""

    def __init__(self, parts: Parts) -> None:
        self.chat = parts.answers(chat_exchange(parts.fingerprint))
        self.completion = parts.answers(completion_exchange(parts.fingerprint))
        self.native_completion = parts.answers(llama_server.COMPLETION)
        self.embedding = parts.at_once(EMBEDDING)
        self.native_embedding = parts.at_once(llama_server.EMBEDDING)


def post(path: str, endpoint: object) -> Route:
    """A route that takes POST alone."""
    return Route(path, endpoint, methods=["POST"])  # type: ignore[arg-type]


def with_and_without_v1(routes: Sequence[Route]) -> list[Route]:
    """Each route twice; `/` is `/v1` then."""
    prefixed = [
        Route(f"/v1{route.path}".rstrip("/"), route.endpoint, methods=route.methods)
        for route in routes
    ]
    return [*prefixed, *routes]


def openai_routes(parts: Parts, endpoints: Endpoints) -> list[Route]:
    """OpenAI's, and reranking."""
    store, models = ResponseStore(), Models(parts.manager)
    responses = Responses(store)
    response = ResponseEndpoint(
        store,
        parts.manager,
        parts.settings,
        headers_after_seconds=parts.headers_after_seconds,
    )
    rerank = parts.at_once(RERANK)
    return [
        post("/chat/completions", endpoints.chat),
        post("/responses", response),
        Route("/responses/{id}", responses.show, methods=["GET"]),
        Route("/responses/{id}", responses.delete, methods=["DELETE"]),
        post("/rerank", rerank),
        post("/reranking", rerank),
        Route("/models", models.list),
        Route("/models/{name:path}", models.show),
        Route("/errors/{code}", describe_error),
    ]


def anthropic_routes(parts: Parts) -> list[Route]:
    """Anthropic's."""
    return [
        post("/messages", parts.answers(MESSAGE)),
        post("/messages/count_tokens", parts.at_once(COUNT)),
    ]


def llama_server_routes(parts: Parts, endpoints: Endpoints) -> list[Route]:
    """llama-server's own."""
    inspection = llama_server.Inspection(parts.manager, parts.fingerprint)
    return [
        post("/chat/completions/input_tokens", parts.at_once(llama_server.COUNT)),
        post("/infill", parts.answers(llama_server.INFILL)),
        post("/completion", endpoints.native_completion),
        post("/embedding", endpoints.native_embedding),
        post("/tokenize", parts.at_once(llama_server.TOKENIZE)),
        post("/detokenize", parts.at_once(llama_server.DETOKENIZE)),
        post("/apply-template", parts.at_once(llama_server.TEMPLATE)),
        Route("/props", inspection.properties, methods=["GET"]),
        post("/props", inspection.change_properties),
        Route("/slots", inspection.slots),
        post("/slots/{slot}", inspection.change_slot),
    ]


def bare_routes(endpoints: Endpoints) -> list[Route]:
    """OpenAI's where they have `/v1`, and llama-server's where they have not."""
    return [
        post("/v1/completions", endpoints.completion),
        post("/v1/embeddings", endpoints.embedding),
        post("/completions", endpoints.native_completion),
        post("/embeddings", endpoints.native_embedding),
    ]


def lm_studio_routes(parts: Parts, endpoints: Endpoints) -> list[Route]:
    """LM Studio's lists, and OpenAI's routes as it has them."""
    models = LmStudioModels(parts.manager)
    return [
        Route("/api/v0/models", models.list),
        Route("/api/v0/models/{name:path}", models.show),
        post("/api/v0/chat/completions", endpoints.chat),
        post("/api/v0/completions", endpoints.completion),
        post("/api/v0/embeddings", endpoints.embedding),
    ]


def probe_routes(health: Health, metrics: Metrics) -> list[Route]:
    """For whoever watches the server."""
    return [
        Route("/health", health.ready),
        Route("/health/ready", health.ready),
        Route("/health/live", health.live),
        Route("/health/details", health.details),
        Route("/metrics", metrics.show),
    ]


def admin_routes(
    settings: Settings,
    admin: Admin,
    activity: Activity,
    events: ActivityEvents,
    cache: CacheAdmin,
    keys: Keys,
    fitting: Fitting,
    discard: DiscardEndpoint,
) -> list[Route]:
    """For whoever runs the server, and for the dashboard."""
    changes = (admin.load, admin.unload, admin.default, admin.pin, admin.unpin)
    return [
        Route("/admin/models", admin.list),
        Route("/admin/cache", cache.show, methods=["GET"]),
        post("/admin/cache/purge", cache.purge),
        Route("/admin/activity", activity.show),
        Route(EVENTS_PATH, events, methods=["GET"]),
        post("/admin/requests/{name:path}/cancel", activity.cancel),
        Route("/admin/settings", EffectiveSettings(settings).show),
        Route("/admin/catalog", Shelf(settings).show),
        Route("/admin/fit", fitting.list),
        Route("/admin/fit/{name:path}", fitting.show),
        post("/admin/pulls/{name:path}/discard", discard.discard),
        Route("/admin/connect", Connecting(admin).show),
        Route("/admin/routes/explain", RouteExplanation().show, methods=["GET"]),
        Route("/admin/keys", keys.list, methods=["GET"]),
        post("/admin/keys", keys.create),
        post("/admin/keys/{name}/rotate", keys.rotate),
        post("/admin/keys/{name}/revoke", keys.revoke),
        *(post(f"/admin/models/{{name:path}}/{one.__name__}", one) for one in changes),
    ]
