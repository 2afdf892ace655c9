"""A model in this process that makes vectors of texts, or scores of pairs, and writes no text.

Tokenizes in workers, lets the engine compute. Lives on the event loop. llama.cpp is imported at the
first load, on the engine thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from localserve.backends.base import Capability, EngineStatus, ModelFacts
from localserve.backends.lessons import compare_load
from localserve.backends.loading import (
    LoadOptions,
    Prepared,
    ShareReport,
    closed_on_failure,
    nothing_kept,
    path_on_disk,
    prepare,
)
from localserve.backends.pairs import Pairs
from localserve.backends.placement import Placed
from localserve.backends.prompts import Prompts
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    ChatEvent,
    ChatRequest,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    InfillRequest,
    Prompt,
    RerankAnswer,
    RerankRequest,
    TokenCount,
)
from localserve.engine.embedder import Vector
from localserve.engine.embedding import EmbeddingEngine
from localserve.engine.inputs import Tokens
from localserve.engine.sequence import SequenceView
from localserve.errors import (
    ContextOverflow,
    InvalidRequest,
    LocalserveError,
    ModelMalformed,
    ModelUnusable,
    WrongTask,
)
from localserve.gguf.facts import GgufFacts
from localserve.gguf.pooling import HEADS, pooled_width
from localserve.planner.plan import wanted_by
from localserve.planner.processor import usable_cores
from localserve.planner.usage import MemoryUsage

if TYPE_CHECKING:
    from localserve.llama.embedder import LlamaEmbedder
    from localserve.llama.model import LlamaModel

log = logging.getLogger(__name__)

YES = "yes"
"""The class of documents that answer a query, where a reranker has several."""

SHARES = frozenset({"qwen3", "qwen3vl"})
"""Architectures whose scores llama.cpp makes into shares itself. Source: build_pooling in
llama-graph.cpp."""


async def load(
    spec: ModelSpec,
    options: LoadOptions,
    progress: Callable[[float], None],
    *,
    placed: Placed | None = None,
    on_abort: Callable[[str], None] = lambda reason: None,
) -> EmbeddingBackend:
    """Load a model that makes vectors. Parameters and errors are those of `local.load`."""
    path = path_on_disk(spec)
    report = ShareReport(progress)
    prepared: Prepared

    def make_embedder() -> LlamaEmbedder:
        nonlocal prepared
        with nothing_kept():
            prepared = prepare(spec, path, options, placed, on_abort)
            return _make_embedder(spec, prepared, options, report)

    engine = EmbeddingEngine(spec.name, make_embedder, max_waiting=options.max_waiting)
    async with closed_on_failure(engine, spec, report):
        embedder = await engine.start()
        return EmbeddingBackend(spec, engine, embedder, prepared.facts)


def _make_embedder(
    spec: ModelSpec,
    prepared: Prepared,
    options: LoadOptions,
    report: Callable[[float], bool],
) -> LlamaEmbedder:
    """The weights and their context, ready to compute; closed where that fails."""
    from localserve.llama.embedder import LlamaEmbedder
    from localserve.llama.model import LlamaModel

    facts, placed = prepared.facts, prepared.placed
    _check_head(spec, facts, placed)
    with contextlib.ExitStack() as undo:
        model = LlamaModel(prepared.path, placed.runtime, report)
        undo.callback(model.close)
        _check_width(facts, placed, model)
        if placed.runtime.pooling == "rank":
            _check_scores(spec, model)
        embedder = LlamaEmbedder(model, placed.runtime, threads=options.threads or usable_cores())
        undo.callback(embedder.close)
        embedder.warm_up()
        if options.settings is not None and embedder.memory_at_start is not None:
            taken = embedder.memory_at_start
            compare_load(options.settings, facts, placed.backend, placed.predicted, taken)
        undo.pop_all()
    return embedder


def _check_head(spec: ModelSpec, facts: GgufFacts, placed: Placed) -> None:
    """Raises: ModelUnusable, where a reranker has nothing to make scores with."""
    if placed.runtime.pooling == "rank" and not any(map(facts.tensor, HEADS)):
        raise ModelUnusable(
            f"{spec.name!r} is to rank documents, and its file has no classification head.",
            hint="Use a file that was converted from a reranker.",
        )


def _check_width(facts: GgufFacts, placed: Placed, model: LlamaModel) -> None:
    """Raises: ModelMalformed, where llama.cpp would look for more numbers than there are."""
    pooling = placed.runtime.pooling
    assert pooling is not None
    promised = model.scores if pooling == "rank" else model.vector_length
    made = pooled_width(facts, pooling)
    if promised > made:
        raise ModelMalformed(
            f"{facts.file}: it promises {promised} numbers of a text; its tensors make {made}.",
            hint="Use another conversion of the model.",
        )


def _check_scores(spec: ModelSpec, model: LlamaModel) -> None:
    """Raises: ModelUnusable, where none of several scores says that a document answers a query."""
    labels = _labels(model)
    if len(labels) > 1 and YES not in labels:
        raise ModelUnusable(
            f"{spec.name!r} tells {len(labels)} classes apart, {', '.join(map(repr, labels[:5]))},"
            f" none of which is {YES!r}: it is not a reranker.",
            hint="Use a file that was converted from a reranker.",
        )


class EmbeddingBackend:
    """Implements `Backend` over an engine of vectors with a llama.cpp embedder."""

    def __init__(
        self,
        spec: ModelSpec,
        engine: EmbeddingEngine[LlamaEmbedder],
        embedder: LlamaEmbedder,
        facts: GgufFacts,
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._vocabulary = embedder.vocabulary
        self._prompts = Prompts(embedder.vocabulary, spec.name, cells=embedder.cells)
        self._cells = embedder.cells
        self._ranks = embedder.runtime.pooling == "rank"
        self._facts = _facts(spec, embedder, "rerank" if self._ranks else "embedding")
        self._memory = embedder.memory_at_start
        self._width = embedder.width
        labels = _labels(embedder.model)
        self._best = labels.index(YES) if YES in labels else 0
        self._pairs = Pairs(
            embedder.vocabulary,
            embedder.model.rerank_template,
            word_pieces=facts.tokenizer.model == "bert",
        )

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def memory(self) -> MemoryUsage | None:
        return self._memory

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        return self._write_nothing()

    def complete(self, request: CompletionRequest) -> AsyncGenerator[ChatEvent, None]:
        return self._write_nothing()

    def infill(self, request: InfillRequest) -> AsyncGenerator[ChatEvent, None]:
        return self._write_nothing()

    async def tokenize(self, text: Prompt, *, add_special: bool, parse_special: bool) -> list[int]:
        def tokens() -> list[int]:
            return self._prompts.of_parts(
                text, "content", add_special=add_special, parse_special=parse_special
            )

        return await asyncio.to_thread(tokens)

    async def spell(self, tokens: Sequence[int]) -> list[bytes]:
        return await asyncio.to_thread(self._prompts.spellings, tokens, "tokens")

    async def render(self, request: ChatRequest, *, generation_prompt: bool = True) -> str:
        raise self._writes_nothing()

    async def look(self) -> tuple[SequenceView, ...]:
        return ()

    async def count_tokens(self, request: ChatRequest) -> TokenCount:
        raise self._writes_nothing()

    async def _write_nothing(self) -> AsyncGenerator[ChatEvent, None]:
        raise self._writes_nothing()
        yield  # a generator, as all backends' answers are

    def _writes_nothing(self) -> WrongTask:
        route = "/v1/rerank" if self._ranks else "/v1/embeddings"
        return WrongTask(
            f"{self._facts.name!r} {self._does} and writes no text.",
            hint=f"Send it to {route}, or name a chat model; GET /v1/models says what each can do.",
        )

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        if self._ranks:
            raise WrongTask(
                f"{self._facts.name!r} {self._does} and makes no embeddings.",
                hint="Send it to /v1/rerank, or name an embedding model; GET /v1/models says what"
                " each can do.",
            )
        wanted = request.dimensions or self._width
        if wanted > self._width:
            raise InvalidRequest(
                f"{wanted} dimensions are asked for; the vectors of {self._facts.name!r} have"
                f" {self._width}.",
                param="dimensions",
                hint=f"Ask for at most {self._width}, or leave it out.",
            )
        inputs = await asyncio.to_thread(self._tokenize_all, request.inputs)
        vectors = await self._engine.embed(inputs)
        normal = await asyncio.to_thread(_normal, vectors, wanted)
        return EmbeddingAnswer(self._facts.name, normal, sum(map(len, inputs)))

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        if not self._ranks:
            raise WrongTask(
                f"{self._facts.name!r} {self._does} and ranks no documents.",
                hint="Name a reranker (GET /v1/models says what each model can do), or compare"
                " the vectors of /v1/embeddings.",
            )
        pairs = await asyncio.to_thread(self._pair_all, request)
        scores = await self._engine.embed(pairs)
        return RerankAnswer(self._facts.name, tuple(map(self._score, scores)), sum(map(len, pairs)))

    @property
    def _does(self) -> str:
        return "ranks documents" if self._ranks else "makes embeddings"

    async def responsive(self, timeout_seconds: float) -> bool:
        return await self._engine.responsive(timeout_seconds)

    def status(self) -> EngineStatus:
        now = self._engine.snapshot
        return EngineStatus(
            alive=now.alive,
            running=now.running,
            waiting=now.waiting,
            cells_used=now.cells_used,
            cells=now.cells,
            step_age_seconds=self._engine.step_age_seconds,
            steps=now.steps,
        )

    def reconfigure(self, spec: ModelSpec) -> None:
        old = self._spec
        self._spec = spec
        self._facts = replace(self._facts, name=spec.name, aliases=spec.aliases)
        if wanted_by(old) != wanted_by(spec):
            what = "a new context, pooling or placement"
            log.warning("%s: %s takes effect at the next start", spec.name, what)

    def break_all(self, error: LocalserveError) -> None:
        """End all requests with `error`, without asking the engine thread."""
        self._engine.break_all(error)

    async def close(self) -> None:
        await self._engine.close()

    def _tokenize_all(self, inputs: Sequence[Prompt]) -> tuple[Tokens, ...]:
        return tuple(self._tokenize(text, index, len(inputs)) for index, text in enumerate(inputs))

    def _tokenize(self, text: Prompt, index: int, count: int) -> Tokens:
        """The tokens of one input. Raises: InvalidRequest, ContextOverflow."""
        if isinstance(text, str):
            tokens = self._vocabulary.tokenize(text, add_special=True, parse_special=True)
        else:
            tokens = self._prompts.of_parts(text, "input", add_special=True, parse_special=True)
        which = f"input[{index}]" if count > 1 else "the input"
        if not text or not tokens:
            raise InvalidRequest(
                f"Nothing can be said of an empty text, and {which} is one.",
                param="input",
                hint="Leave it out.",
            )
        self._check_length(tokens, "input", which)
        return tuple(tokens)

    def _check_length(self, tokens: Sequence[int], param: str, which: str) -> None:
        if len(tokens) <= self._cells:
            return
        trained = self._facts.trained_context_tokens
        more = f" The model was trained for {trained}: start it with --ctx {trained}, or set its"
        hint = f"It is {which}; split it into parts."
        if trained > self._cells:
            hint += f"{more} context in models.toml."
        raise ContextOverflow(len(tokens), self._cells, param=param, hint=hint)

    def _pair_all(self, request: RerankRequest) -> tuple[Tokens, ...]:
        pairs: list[Tokens] = []
        for index, document in enumerate(request.documents):
            tokens = self._pairs.tokens(request.query, document)
            which = f"documents[{index}], with the query"
            self._check_length(tokens, "documents", which)
            pairs.append(tuple(tokens))
        return tuple(pairs)

    def _score(self, scores: Vector) -> float:
        """From 0 to 1: the logistic function of a single score, the share of one among several."""
        if len(scores) == 1:
            return float(1 / (1 + np.exp(-scores[0].astype(np.float64))))
        if self._facts.architecture not in SHARES:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        return float(scores[self._best])


def _labels(model: LlamaModel) -> list[str | None]:
    """What each score of a classification head stands for."""
    return [model.score_label(number) for number in range(model.scores)]


def _normal(vectors: Sequence[Vector], dimensions: int) -> npt.NDArray[np.float32]:
    """The beginnings of the vectors, each made as long as 1; a vector of zeros stays."""
    table = np.stack(vectors)[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return (table / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _facts(spec: ModelSpec, embedder: LlamaEmbedder, can: Capability) -> ModelFacts:
    assert isinstance(spec.source, LocalFile)
    model = embedder.model
    return ModelFacts(
        name=spec.name,
        aliases=spec.aliases,
        architecture=model.architecture,
        context_tokens=embedder.cells,
        trained_context_tokens=model.trained_context_tokens,
        parallel=embedder.slots,
        vocabulary_size=model.vocabulary.size,
        embedding_length=model.vector_length,
        parameters=model.parameters,
        weights_bytes=model.weights_bytes,
        created=int(spec.source.path.stat().st_mtime),
        fills_middle=False,
        device=embedder.device,
        file=str(spec.source.path),
        capabilities=(can,),
        begin_text=model.vocabulary.text(model.vocabulary.begin),
        end_text=model.vocabulary.text(model.vocabulary.end),
    )
