"""The routes that are llama-server's: middles, native completions, tokens, properties and slots.

Lives on the event loop.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.backends.base import Backend, ModelFacts
from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    InfillRequest,
    TokenCount,
)
from localserve.dialects import llama_server, openai
from localserve.engine.sequence import SequenceView
from localserve.errors import InvalidRequest, NotSupported, Unavailable
from localserve.manager import ModelManager, Ready
from localserve.server import chat, vectors
from localserve.server.callers import check_model


def _answer(
    asked: llama_server.Asked[CompletionRequest | InfillRequest],
) -> llama_server.NativeAnswer:
    return llama_server.NativeAnswer(choices=asked.choices, telling=asked.telling)


COMPLETION: chat.Exchange[llama_server.Asked[CompletionRequest]] = chat.Exchange(
    llama_server.parse_completion, _answer
)
INFILL: chat.Exchange[llama_server.Asked[InfillRequest]] = chat.Exchange(
    llama_server.parse_infill, _answer
)


async def _tokenize(backend: Backend, text: llama_server.Text) -> llama_server.Tokens:
    tokens = await backend.tokenize(
        text.content, add_special=text.add_special, parse_special=text.parse_special
    )
    pieces = await backend.spell(tokens) if text.with_pieces else ()
    return llama_server.Tokens(backend.facts.name, tokens, pieces)


async def _detokenize(backend: Backend, tokens: llama_server.Tokens) -> llama_server.Tokens:
    pieces = await backend.spell(tokens.tokens)
    return llama_server.Tokens(backend.facts.name, tokens.tokens, pieces)


async def _render(backend: Backend, asked: openai.Rendering) -> openai.RenderedPrompt:
    text = await backend.render(asked.chat, generation_prompt=asked.generation_prompt)
    return openai.RenderedPrompt(backend.facts.name, text)


TOKENIZE: vectors.Exchange[llama_server.Text, llama_server.Tokens] = vectors.Exchange(
    llama_server.parse_tokenize, _tokenize, lambda text: len(text.content), computes=False
)
DETOKENIZE: vectors.Exchange[llama_server.Tokens, llama_server.Tokens] = vectors.Exchange(
    llama_server.parse_detokenize, _detokenize, lambda tokens: len(tokens.tokens), computes=False
)
EMBEDDING: vectors.Exchange[EmbeddingRequest, EmbeddingAnswer] = vectors.Exchange(
    llama_server.parse_embedding,
    lambda backend, request: backend.embed(request),
    lambda request: len(request.inputs),
)
TEMPLATE: vectors.Exchange[openai.Rendering, openai.RenderedPrompt] = vectors.Exchange(
    openai.parse_prompt, _render, lambda asked: len(asked.chat.messages), computes=False
)
COUNT: vectors.Exchange[ChatRequest, TokenCount] = vectors.Exchange(
    openai.parse_count,
    lambda backend, request: backend.count_tokens(request),
    lambda request: 1,
    computes=False,
)


class Inspection:
    """What loaded models are and do. Nothing is loaded for it, but for the default model."""

    def __init__(self, manager: ModelManager, build: str) -> None:
        self._manager = manager
        self._build = build

    async def properties(self, request: Request) -> Response:
        """`GET /props`, of the model that `?model=` names."""
        facts = await self._facts(request)
        return JSONResponse(llama_server.properties_fields(_properties(facts), self._build))

    async def slots(self, request: Request) -> Response:
        """`GET /slots`, of the model that `?model=` names; with `?fail_on_no_slot=1` an error if
        all are taken."""
        facts = await self._facts(request)
        async with self._manager.lease(facts.name) as lease:
            views, status = await lease.backend.look(), lease.backend.status()
        if request.query_params.get("fail_on_no_slot") and status.running >= facts.parallel:
            raise Unavailable("No slot is free.")
        fields = llama_server.slots_fields(
            [_running(view) for view in views],
            slots=facts.parallel,
            busy=max(len(views), status.running),
            context_tokens=facts.context_tokens,
        )
        return JSONResponse(fields)

    async def change_properties(self, request: Request) -> Response:
        """`POST /props`."""
        raise NotSupported(
            "The properties of a model cannot be changed while it runs.",
            hint="Set them in models.toml, and reload that by POST /admin/reload.",
        )

    async def change_slot(self, request: Request) -> Response:
        """`POST /slots/{id}`: what llama-server saves, restores and erases by hand."""
        raise NotSupported(
            "Slots are not saved, restored or erased by hand.",
            hint="What was computed of a prompt is kept and found again by itself.",
        )

    async def _facts(self, request: Request) -> ModelFacts:
        """Raises: UnknownModel; KeyForbidden; InvalidRequest, where the model is not loaded."""
        name = request.query_params.get("model", "")
        await check_model(request.scope, self._manager, name)
        report = await self._manager.report_on(name)
        if isinstance(report.state, Ready):
            return report.state.facts
        if not self._manager.is_default(report.spec):
            raise InvalidRequest(
                f"The model {report.spec.name!r} is not loaded, and this is known of loaded ones.",
                param="model",
                hint="Send it a request first, or POST /admin/models/ID/load.",
            )
        async with self._manager.lease(name) as lease:
            return lease.backend.facts


def _properties(facts: ModelFacts) -> llama_server.Properties:
    return llama_server.Properties(
        model=facts.name,
        file=facts.file,
        context_tokens=facts.context_tokens,
        slots=facts.parallel,
        sampling=facts.sampling,
        chat_template=facts.chat_template,
        begin_text=facts.begin_text,
        end_text=facts.end_text,
        writes="completion" in facts.capabilities,
    )


def _running(view: SequenceView) -> llama_server.Running:
    return llama_server.Running(
        number=view.number,
        prompt_tokens=view.prompt_tokens,
        cached_tokens=view.cached_tokens,
        computed_tokens=view.computed_tokens,
        answer_tokens=view.answer_tokens,
        answer_tokens_left=view.answer_tokens_left,
        has_new_line=view.has_new_line,
        sampling=view.sampling,
        max_tokens=view.max_tokens,
    )
