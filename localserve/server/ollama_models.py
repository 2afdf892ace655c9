"""`/api/tags`, `/api/show`, `/api/ps` and `/api/version`: what models there are, in Ollama's words.

Lives on the event loop; files are read in a worker.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from localserve.backends.base import ModelFacts
from localserve.catalog.routes import Route
from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.dialects import ollama
from localserve.errors import ModelUnusable, UnknownModel
from localserve.gateway.caller import caller_of
from localserve.manager import ModelManager, ModelReport, Ready
from localserve.manager.library import Library
from localserve.manager.summary import Summaries, Summary
from localserve.planner.plan import Wanted, wanted_by, wanted_of
from localserve.planner.usage import RAM
from localserve.server.bodies import read_body
from localserve.server.callers import check_model
from localserve.server.router import route_forbidden, router_of

MOST_BODY_BYTES = 64 << 10

ROUTE = "route"
"""In the place of the architecture of a name that stands for one of several models."""

_UNREAD = Summary(size_bytes=0, modified_at=0.0, digest=64 * "0")
"""Of a file that is gone, although its model is loaded."""


class OllamaModels:
    """The models that can be asked for, and the routes; of loaded models, as they are now."""

    def __init__(self, manager: ModelManager, settings: Settings, library: Library | None) -> None:
        self._manager = manager
        self._library = library
        self._settings = settings
        self._started = time.time()
        self._summaries = Summaries(self._wanted)

    async def version(self, request: Request) -> Response:
        """The version of the API, by which clients decide what to ask."""
        return JSONResponse({"version": ollama.VERSION})

    async def tags(self, request: Request) -> Response:
        """Every model that this caller may ask for, then the routes."""
        caller = caller_of(request.scope)
        specs = [one for one in await self._manager.offered() if caller.may_use(one.names)]
        removable = await self._library.removable() if self._library is not None else ()
        models = [
            replace(model, removable=model.name in removable)
            for model in await self._described(specs)
        ]
        names = [name for spec in specs for name in spec.names]
        routes = router_of(request.scope).open_to(caller, names)
        models += [_describe_route(route, self._started, ()) for route in routes]
        return JSONResponse(ollama.list_fields(models))

    async def ps(self, request: Request) -> Response:
        """Those that are loaded."""
        caller = caller_of(request.scope)
        reports = [
            report
            for report in self._manager.report()
            if isinstance(report.state, Ready) and caller.may_use(report.spec.names)
        ]
        models = await self._described([report.spec for report in reports])
        by_name = {model.name: model for model in models}
        running = [
            _running(by_name[report.spec.name], report)
            for report in reports
            if report.spec.name in by_name
        ]
        return JSONResponse(ollama.running_fields(running))

    async def show(self, request: Request) -> Response:
        """One model or route. Raises: UnknownModel, KeyForbidden, ModelUnusable."""
        name = ollama.parse_show(await read_body(request, MOST_BODY_BYTES))
        if (route := router_of(request.scope).find(name)) is not None:
            return JSONResponse(ollama.show_fields(await self._route(route, request.scope)))
        await check_model(request.scope, self._manager, name)
        spec = (await self._manager.report_on(name)).spec
        (summary,) = await self._summaries.of([spec])
        facts = self._facts().get(spec.name)
        if facts is None and summary is None:
            raise UnknownModel(name, ())
        if facts is None and summary is not None and summary.problem:
            raise ModelUnusable(summary.problem)
        return JSONResponse(ollama.show_fields(_describe(spec, summary or _UNREAD, facts)))

    async def _route(self, route: Route, scope: Scope) -> ollama.Described:
        """Raises: KeyForbidden."""
        caller, offered = caller_of(scope), await self._manager.offered()
        names = [name for spec in offered if caller.may_use(spec.names) for name in spec.names]
        if route not in router_of(scope).open_to(caller, names):
            raise route_forbidden(route, caller)
        wanted = {one.model.casefold() for one in route.targets}
        specs = [one for one in offered if wanted & {name.casefold() for name in one.names}]
        return _describe_route(route, self._started, await self._described(specs))

    def _wanted(self, spec: ModelSpec) -> Wanted:
        """How it would be run."""
        wanted = wanted_of(self._settings, default=self._manager.is_default(spec))
        return wanted.over(wanted_by(spec))

    async def _described(self, specs: list[ModelSpec]) -> list[ollama.Described]:
        """All of them but those whose file has gone."""
        facts = self._facts()
        summaries = await self._summaries.of(specs)
        return [
            _describe(spec, summary or _UNREAD, facts.get(spec.name))
            for spec, summary in zip(specs, summaries, strict=True)
            if summary is not None or spec.name in facts
        ]

    def _facts(self) -> dict[str, ModelFacts]:
        return {facts.name: facts for facts in self._manager.models()}


def _describe(spec: ModelSpec, summary: Summary, facts: ModelFacts | None) -> ollama.Described:
    """The model by its file, and by what is known since it was loaded."""
    described = ollama.Described(
        name=spec.name,
        size_bytes=summary.size_bytes,
        digest=summary.digest,
        modified_at=summary.modified_at,
        architecture=summary.architecture,
        parameters=summary.parameters,
        quantization=summary.quantization,
        context_tokens=summary.context_tokens,
        template=summary.chat_template,
        capabilities=summary.capabilities,
        sampling=spec.sampling,
        values=summary.values,
    )
    if facts is None:
        return described
    return replace(
        described,
        size_bytes=described.size_bytes or facts.weights_bytes,
        modified_at=described.modified_at or facts.created,
        architecture=described.architecture or facts.architecture,
        parameters=described.parameters or facts.parameters,
        template=described.template or facts.chat_template,
        context_tokens=facts.context_tokens,
        capabilities=facts.capabilities,
    )


def _describe_route(
    route: Route, since: float, models: Sequence[ollama.Described]
) -> ollama.Described:
    """What all of a route's `models` can do: any of them may answer."""
    able = [model.capabilities for model in models if model.capabilities]
    contexts = [model.context_tokens for model in models if model.context_tokens]
    return ollama.Described(
        name=route.name,
        size_bytes=0,
        digest=hashlib.sha256(f"route {route.name}".encode()).hexdigest(),
        modified_at=since,
        architecture=ROUTE,
        context_tokens=min(contexts, default=0),
        capabilities=tuple(one for one in able[0] if all(one in other for other in able))
        if able
        else (),
    )


def _running(model: ollama.Described, report: ModelReport) -> ollama.Running:
    bytes_by_device = report.device_bytes
    on_gpus = sum(size for device, size in bytes_by_device.items() if device != RAM)
    return ollama.Running(
        model,
        memory_bytes=sum(bytes_by_device.values()) or model.size_bytes,
        gpu_bytes=on_gpus,
        expires_at=report.expires_at,
    )
