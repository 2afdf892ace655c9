"""`GET /v1/models` and `/v1/models/{name}`: what can be asked for. Lives on the event loop."""

from __future__ import annotations

import time
from difflib import get_close_matches

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from localserve.backends.base import Capability, ModelFacts
from localserve.catalog.spec import ModelSpec
from localserve.dialects.openai import (
    ListedModel,
    LoadedModel,
    catalog_fields,
    list_fields,
    model_fields,
)
from localserve.errors import UnknownModel
from localserve.gateway.caller import caller_of
from localserve.manager import ModelManager
from localserve.server.router import router_of


class Models:
    """Lists what can be asked for, with what is known of models that are loaded."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._started = int(time.time())

    async def list(self, request: Request) -> Response:
        """All models; an empty catalog for a client that names its version, as Codex does."""
        if "client_version" in request.query_params:
            return JSONResponse(catalog_fields())
        return JSONResponse(list_fields(await self._listed(request.scope)))

    async def show(self, request: Request) -> Response:
        """One model, by its name or an alias, in any case of letters."""
        name: str = request.path_params["name"]
        models = await self._listed(request.scope)
        for model in models:
            if name.casefold() in {known.casefold() for known in (model.name, *model.aliases)}:
                return JSONResponse(model_fields(model))
        near = get_close_matches(name, [model.name for model in models], cutoff=0.0)
        raise UnknownModel(name, tuple(near))

    async def _listed(self, scope: Scope) -> tuple[ListedModel, ...]:
        """Loaded models, then what can be loaded, then routes; of those that the caller may use."""
        caller = caller_of(scope)
        loaded = tuple(_listed(facts) for facts in self._manager.models())
        known = {model.name.casefold() for model in loaded}
        others = [
            ListedModel(spec.name, spec.aliases, self._started, capabilities=_can(spec))
            for spec in await self._manager.offered()
            if spec.name.casefold() not in known
        ]
        usable = [one for one in (*loaded, *others) if caller.may_use((one.name, *one.aliases))]
        names = [name for one in usable for name in (one.name, *one.aliases)]
        routes = [
            ListedModel(route.name, (), self._started)
            for route in router_of(scope).open_to(caller, names)
        ]
        return (*usable, *routes)


def _listed(facts: ModelFacts) -> ListedModel:
    loaded = LoadedModel(
        context_tokens=facts.context_tokens,
        trained_context_tokens=facts.trained_context_tokens,
        vocabulary_size=facts.vocabulary_size,
        embedding_length=facts.embedding_length,
        parameters=facts.parameters,
        weights_bytes=facts.weights_bytes,
    )
    return ListedModel(facts.name, facts.aliases, facts.created, loaded, facts.capabilities)


def _can(spec: ModelSpec) -> tuple[Capability, ...]:
    """What is known of a model before its file is read."""
    if spec.pooling == "rank":
        return ("rerank",)
    if spec.pooling is not None or spec.kind == "embedding":
        return ("embedding",)
    return ()
