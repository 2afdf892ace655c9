"""`/api/tags`, `/api/show`, `/api/ps` and `/api/version`: what models there are, in Ollama's words.

Lives on the event loop; files are read in a worker.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.backends.base import ModelFacts
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

MOST_BODY_BYTES = 64 << 10

_UNREAD = Summary(size_bytes=0, modified_at=0.0, digest=64 * "0")
"""Of a file that is gone, although its model is loaded."""


class OllamaModels:
    """The models that can be asked for; of those that are loaded, as they are now."""

    def __init__(self, manager: ModelManager, settings: Settings, library: Library | None) -> None:
        self._manager = manager
        self._library = library
        self._settings = settings
        self._summaries = Summaries(self._wanted)

    async def version(self, request: Request) -> Response:
        """The version of the API, by which clients decide what to ask."""
        return JSONResponse({"version": ollama.VERSION})

    async def tags(self, request: Request) -> Response:
        """Every model that this caller may ask for."""
        caller = caller_of(request.scope)
        specs = [one for one in await self._manager.offered() if caller.may_use(one.names)]
        removable = await self._library.removable() if self._library is not None else ()
        models = [
            replace(model, removable=model.name in removable)
            for model in await self._described(specs)
        ]
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
        """One model. Raises: UnknownModel, KeyForbidden, ModelUnusable."""
        name = ollama.parse_show(await read_body(request, MOST_BODY_BYTES))
        await check_model(request.scope, self._manager, name)
        spec = (await self._manager.report_on(name)).spec
        (summary,) = await self._summaries.of([spec])
        facts = self._facts().get(spec.name)
        if facts is None and summary is None:
            raise UnknownModel(name, ())
        if facts is None and summary is not None and summary.problem:
            raise ModelUnusable(summary.problem)
        return JSONResponse(ollama.show_fields(_describe(spec, summary or _UNREAD, facts)))

    def _wanted(self, spec: ModelSpec) -> Wanted:
        """How it would be run: the command line's context is the default model's."""
        wanted = wanted_of(self._settings)
        if not self._manager.is_default(spec):
            wanted = replace(wanted, context_tokens=None)
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


def _running(model: ollama.Described, report: ModelReport) -> ollama.Running:
    bytes_by_device = report.device_bytes
    on_gpus = sum(size for device, size in bytes_by_device.items() if device != RAM)
    return ollama.Running(
        model,
        memory_bytes=sum(bytes_by_device.values()) or model.size_bytes,
        gpu_bytes=on_gpus,
        expires_at=report.expires_at,
    )
