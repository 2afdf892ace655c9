"""Ollama's routes: what they share with the other dialects' endpoints, and where they differ.

An empty question loads a model, or unloads it. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from localserve.backends.base import Backend
from localserve.chat import ChatRequest, CompletionRequest, EmbeddingAnswer, EmbeddingRequest
from localserve.config import Settings
from localserve.dialects import ollama
from localserve.errors import ModelInUse
from localserve.manager import ModelManager
from localserve.manager.library import Library
from localserve.server.asking import told
from localserve.server.attempts import Way
from localserve.server.chat import AnswerEndpoint, Exchange
from localserve.server.library import DeleteEndpoint, PullEndpoint
from localserve.server.ollama_models import OllamaModels
from localserve.server.records import RequestRecord, record_of
from localserve.server.vectors import AtOnceEndpoint, while_wanted
from localserve.server.vectors import Exchange as VectorExchange

PORT = "11434"
"""Ollama's own: who asks there means Ollama, whatever else listens there."""

GREETING = "Ollama is running"
"""What programs look for before they go on."""

Asked = ollama.Asked[ollama.Generate]


def ollama_routes(
    manager: ModelManager,
    settings: Settings,
    library: Library | None,
    *,
    headers_after_seconds: float,
) -> list[BaseRoute]:
    """All routes below `/api/`."""

    def answers(parse: Callable[[bytes], Asked], form: type[ollama.Answer]) -> OllamaEndpoint:
        return OllamaEndpoint(
            parse, form, manager, settings, headers_after_seconds=headers_after_seconds
        )

    def vectors(parse: Callable[[bytes], ollama.AskedEmbed]) -> EmbedEndpoint:
        return EmbedEndpoint(VectorExchange(parse, _embed, _count), manager, settings)

    def post(path: str, endpoint: object) -> Route:
        return Route(path, endpoint, methods=["POST"])  # type: ignore[arg-type]

    models, removal = OllamaModels(manager, settings, library), DeleteEndpoint(manager, library)
    return [
        post("/api/chat", answers(ollama.parse_chat, ollama.ChatAnswer)),
        post("/api/generate", answers(ollama.parse_generate, ollama.GenerateAnswer)),
        post("/api/embed", vectors(ollama.parse_embed)),
        post("/api/embeddings", vectors(ollama.parse_embedding)),
        post("/api/show", models.show),
        post("/api/pull", PullEndpoint(library)),
        Route("/api/delete", removal.delete, methods=["DELETE"]),
        Route("/api/tags", models.tags),
        Route("/api/ps", models.ps),
        Route("/api/version", models.version),
    ]


def means_ollama(request: Request) -> bool:
    """Whether a client that asks for no route in particular looks for Ollama: by Ollama's port, as
    the client knows it, or by the name that Ollama's own clients give themselves."""
    agent = request.headers.get("user-agent", "").casefold()
    port = request.headers.get("host", "").rpartition(":")[2]
    return port == PORT or agent.startswith("ollama")


@dataclass(frozen=True, slots=True)
class RecordClock:
    """The times of one request, as its record has them."""

    record: RequestRecord

    @property
    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.record.started) * 1e3

    @property
    def load_ms(self) -> float:
        return self.record.lease_ms or 0.0


class OllamaEndpoint(AnswerEndpoint[Asked]):
    """Answers what `parse` reads in the form of `form`."""

    def __init__(
        self,
        parse: Callable[[bytes], Asked],
        form: type[ollama.Answer],
        manager: ModelManager,
        settings: Settings,
        *,
        headers_after_seconds: float,
    ) -> None:
        exchange = Exchange(parse, form)
        super().__init__(exchange, manager, settings, headers_after_seconds=headers_after_seconds)
        self._form = form

    async def _parse(self, scope: Scope, body: bytes) -> Asked:
        asked = await super()._parse(scope, body)
        return replace(asked, clock=RecordClock(record_of(scope)))

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, asked: Asked, way: Way | None
    ) -> None:
        if not asked.empty:
            await super()._answer(scope, receive, send, asked, way)
            return
        if way is not None:
            asked = replace(asked, request=replace(asked.request, model=way.next()))
        reason = await while_wanted(self._load_or_unload(scope, asked.request), receive)
        model = asked.model or self._manager.spec.name
        await JSONResponse(self._form.nothing(model, reason))(scope, receive, send)

    async def _load_or_unload(self, scope: Scope, request: ChatRequest | CompletionRequest) -> str:
        """What was done, in Ollama's words. Raises: ModelInUse, and as `lease`."""
        model, seconds = request.model, request.keep_alive_seconds
        if seconds != 0:
            async with self._manager.lease(model, keep_alive_seconds=seconds) as lease:
                told(scope, lease)
            return "load"
        report = await self._manager.report_on(model)
        if report.pinned:
            raise ModelInUse(
                f"{report.spec.name!r} is pinned: it stays loaded.",
                hint="POST /admin/models/NAME/unload frees its memory all the same.",
            )
        await self._manager.unload(model)
        return "unload"


class EmbedEndpoint(AtOnceEndpoint[EmbeddingRequest, EmbeddingAnswer]):
    """Makes vectors, and says how long it took."""

    async def _parse(self, scope: Scope, body: bytes) -> ollama.AskedEmbed:
        asked = await super()._parse(scope, body)
        assert isinstance(asked, ollama.AskedEmbed)
        return replace(asked, clock=RecordClock(record_of(scope)))

    async def _ask_model(
        self, scope: Scope, model: str, request: EmbeddingRequest
    ) -> EmbeddingAnswer:
        keep_alive = request.keep_alive_seconds
        async with self._manager.lease(model, keep_alive_seconds=keep_alive) as lease:
            return await self._exchange.ask(told(scope, lease), request)


async def _embed(backend: Backend, request: EmbeddingRequest) -> EmbeddingAnswer:
    """The vectors; none of nothing, for which the model was only loaded."""
    if not request.inputs:
        return EmbeddingAnswer(backend.facts.name, np.empty((0, 0), np.float32), 0)
    return await backend.embed(request)


def _count(request: EmbeddingRequest) -> int:
    return len(request.inputs)
