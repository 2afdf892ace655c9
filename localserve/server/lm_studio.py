"""`GET /api/v0/models` and `/api/v0/models/{id}`: LM Studio's view of the models. Event loop."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.backends.base import ModelFacts
from localserve.catalog.filenames import quantization_of
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.dialects.lm_studio import Kind, ListedModel, list_fields, model_fields
from localserve.errors import UnknownModel
from localserve.gateway.caller import caller_of
from localserve.manager import ModelManager
from localserve.server.router import router_of


class LmStudioModels:
    """Lists what the caller may ask for: loaded models, then others, then routes."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def list(self, request: Request) -> Response:
        models = await self._listed(request)
        return JSONResponse(list_fields(model for model, _ in models))

    async def show(self, request: Request) -> Response:
        """One model, by its name or an alias, in any case of letters."""
        name: str = request.path_params["name"]
        models = await self._listed(request)
        for model, names in models:
            if name.casefold() in {known.casefold() for known in names}:
                return JSONResponse(model_fields(model))
        raise UnknownModel(name, tuple(model.name for model, _ in models[:3]))

    async def _listed(self, request: Request) -> tuple[tuple[ListedModel, tuple[str, ...]], ...]:
        """The models and routes, and the names of each."""
        loaded = {facts.name.casefold(): facts for facts in self._manager.models()}
        found = [(_loaded(facts), (facts.name, *facts.aliases)) for facts in loaded.values()]
        found += [
            (_offered(spec), spec.names)
            for spec in await self._manager.offered()
            if spec.name.casefold() not in loaded
        ]
        caller = caller_of(request.scope)
        usable = [one for one in found if caller.may_use(one[1])]
        names = [name for _, names in usable for name in names]
        usable += [
            (ListedModel(route.name, "llm"), (route.name,))
            for route in router_of(request.scope).open_to(caller, names)
        ]
        return tuple(usable)


def _loaded(facts: ModelFacts) -> ListedModel:
    return ListedModel(
        name=facts.name,
        kind="llm" if "completion" in facts.capabilities else "embeddings",
        architecture=facts.architecture,
        quantization=quantization_of(Path(facts.file).name) or "",
        context_tokens=facts.context_tokens,
        trained_context_tokens=facts.trained_context_tokens,
    )


def _offered(spec: ModelSpec) -> ListedModel:
    kind: Kind = "embeddings" if spec.pooling or spec.kind == "embedding" else "llm"
    name = spec.source.path.name if isinstance(spec.source, LocalFile) else ""
    return ListedModel(
        name=spec.name,
        kind=kind,
        quantization=quantization_of(name) or "",
        trained_context_tokens=spec.shape.trained_context_tokens if spec.shape else None,
    )
