"""What stands in for a model, its file and the machine: a backend that answers from a script.

It counts words as tokens and obeys limits, stop strings, choices and log probabilities. Vectors are
by the bytes of a text, scores by the words that a document shares with the query. Knows nothing of
HTTP and of llama.cpp. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from localserve.backends.base import EngineStatus, ModelFacts
from localserve.backends.placement import Placed
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    ChatRequest,
    Completed,
    CompletionRequest,
    Delta,
    EmbeddingAnswer,
    EmbeddingRequest,
    Finished,
    FinishReason,
    Generation,
    InfillRequest,
    Message,
    Prompt,
    PromptProgress,
    ReasoningDelta,
    RerankAnswer,
    RerankRequest,
    TextDelta,
    Timings,
    TokenCount,
    TokenLogprob,
    ToolCall,
    ToolCallBegun,
    Usage,
)
from localserve.engine.sequence import SequenceView
from localserve.errors import (
    ContextOverflow,
    InvalidRequest,
    LocalserveError,
    NoFillMiddle,
    UnknownModel,
)
from localserve.manager import ModelManager, Progress
from localserve.manager.need import Estimate, Need
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of an answer that is reasoning."""

    text: str


Piece = str | Thought | ToolCall
"""A piece of an answer. A call comes with its name first, then its arguments."""

Script = Callable[[Sequence[Message]], str | Sequence[Piece]]
"""From the messages to the answer: a text, which is split into words, or the pieces themselves."""

FAKE_NAME = "fake"

BEGIN = 256
"""The token that a prompt begins with."""


class FakeBackend:
    """Answers every request by its script; a text completion is asked as one user message.

    `accept_delay_seconds` passes before a request is accepted, `token_delay_seconds` before each
    piece. `failure` is raised before anything is answered, or after `failure_after` pieces.
    `requests` are those that came, `cancelled` counts those that were closed before their end.
    """

    def __init__(
        self,
        script: Script | str = "Hello there!",
        *,
        name: str = FAKE_NAME,
        context_tokens: int = 4096,
        accept_delay_seconds: float = 0.0,
        token_delay_seconds: float = 0.0,
        failure: Exception | None = None,
        failure_after: int | None = None,
    ) -> None:
        self._script: Script = (lambda _: script) if isinstance(script, str) else script
        self._accept_delay_seconds = accept_delay_seconds
        self._token_delay_seconds = token_delay_seconds
        self.failure = failure
        self.failure_after = failure_after
        self.facts = _facts(name, context_tokens)
        self.memory: MemoryUsage | None = None
        self.requests: list[
            ChatRequest | CompletionRequest | InfillRequest | EmbeddingRequest | RerankRequest
        ] = []
        self.running = 0
        self.cancelled = 0
        self.alive = True
        self.steps = True
        self.closed = False

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Answer by the script."""
        answers = [self._pieces(request.messages)] * request.generation.choices
        prompts = [(_rendered(request.messages), _words_of(request))]
        async with aclosing(self._answer(request, answers, prompts, "messages")) as events:
            async for event in events:
                yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[ChatEvent, None]:
        """Answer by the script, prompt by prompt."""
        answers: list[list[Piece]] = []
        prompts: list[tuple[str, int]] = []
        for prompt in request.prompts:
            parts = (prompt,) if isinstance(prompt, str) else prompt
            text = "".join(part if isinstance(part, str) else f"<{part}>" for part in parts)
            words = sum(_words(part) if isinstance(part, str) else 1 for part in parts)
            prompts.append((text, words))
            pieces = self._pieces([Message("user", text)])
            answers += [[text, *pieces] if request.echo else pieces] * request.generation.choices
        async with aclosing(self._answer(request, answers, prompts, "prompt")) as events:
            async for event in events:
                yield event

    async def infill(self, request: InfillRequest) -> AsyncGenerator[ChatEvent, None]:
        """Answer by the script, which is shown the text with `<middle>` in it."""
        if not self.facts.fills_middle:
            raise NoFillMiddle(self.facts.name, None)
        extra = "".join(one.text for one in request.extra)
        text = f"{extra}{request.prefix}<middle>{request.suffix}{request.begun}"
        answers = [self._pieces([Message("user", text)])] * request.generation.choices
        async with aclosing(
            self._answer(request, answers, [(text, _words(text))], "prompt")
        ) as events:
            async for event in events:
                yield event

    async def tokenize(self, text: Prompt, *, add_special: bool, parse_special: bool) -> list[int]:
        """Every byte is a token; `BEGIN` begins a prompt."""
        parts = (text,) if isinstance(text, str) else text
        tokens = [BEGIN] if add_special and parts and isinstance(parts[0], str) else []
        for part in parts:
            tokens += part.encode() if isinstance(part, str) else [part]
        return tokens

    async def spell(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes."""
        if wrong := [token for token in tokens if token > BEGIN]:
            raise InvalidRequest(f"There is no token {wrong[0]}.", param="tokens")
        return [b"<s>" if token == BEGIN else bytes([token]) for token in tokens]

    async def render(self, request: ChatRequest, *, generation_prompt: bool = True) -> str:
        """A line for each message."""
        return _rendered(request.messages) + "assistant:" * generation_prompt

    async def look(self) -> tuple[SequenceView, ...]:
        """One view for each request, whose prompt is computed."""
        view = SequenceView(0, 8, 0, 8, 1, 7, False, self.facts.sampling, 8)
        return tuple(replace(view, number=number) for number in range(self.running))

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Vectors of `embedding_length` numbers, by how often which bytes occur."""
        await self._ask(request)
        most = self.facts.embedding_length
        width = request.dimensions or most
        if width > most:
            raise InvalidRequest(
                f"{width} dimensions are asked for; the vectors have {most}.", param="dimensions"
            )
        texts = [await self._bytes(text) for text in request.inputs]
        if not all(texts):
            raise InvalidRequest("Nothing can be said of an empty text.", param="input")
        letters = [np.frombuffer(raw, np.uint8) % width for raw in texts]
        counts = [np.bincount(one, minlength=width) for one in letters]
        table = np.stack(counts).astype(np.float32)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        return EmbeddingAnswer(self.facts.name, table, sum(map(len, texts)))

    async def _bytes(self, text: Prompt) -> bytes:
        tokens = await self.tokenize(text, add_special=False, parse_special=True)
        if wrong := [token for token in tokens if token > BEGIN]:
            raise InvalidRequest(f"There is no token {wrong[0]}.", param="input")
        return bytes(token for token in tokens if token != BEGIN)

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        """The share of the query's words that a document has."""
        await self._ask(request)
        query = set(request.query.split())
        most = max(1, len(query))
        scores = [len(query & set(text.split())) / most for text in request.documents]
        words = sum(_words(text) + len(query) for text in request.documents)
        return RerankAnswer(self.facts.name, tuple(scores), words)

    async def count_tokens(self, request: ChatRequest) -> TokenCount:
        """The words of the messages."""
        await self._ask(request)
        return TokenCount(self.facts.name, _words_of(request))

    async def _ask(self, request: ChatRequest | EmbeddingRequest | RerankRequest) -> None:
        """What is answered at once passes in `accept_delay_seconds`, or fails."""
        self.requests.append(request)
        self.running += 1
        try:
            await asyncio.sleep(self._accept_delay_seconds)
            self._fail_after(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def responsive(self, timeout_seconds: float) -> bool:
        """Whether `alive` and `steps` are both true."""
        return self.alive and self.steps

    def status(self) -> EngineStatus:
        return EngineStatus(self.alive, self.running, 0, 0, self.facts.context_tokens, 0.0)

    def reconfigure(self, spec: ModelSpec) -> None:
        """Take over name and aliases."""
        self.facts = _facts(spec.name, self.facts.context_tokens, spec.aliases)

    async def close(self) -> None:
        self.closed = True

    def _pieces(self, messages: Sequence[Message]) -> list[Piece]:
        answer = self._script(messages)
        return re.findall(r"\s*\S+|\s+", answer) if isinstance(answer, str) else list(answer)

    async def _answer(
        self,
        request: ChatRequest | CompletionRequest | InfillRequest,
        answers: Sequence[Sequence[Piece]],
        prompts: Sequence[tuple[str, int]],
        param: str,
    ) -> AsyncGenerator[ChatEvent, None]:
        self.requests.append(request)
        self.running += 1
        done = False
        try:
            await asyncio.sleep(self._accept_delay_seconds)
            self._fail_after(0)
            for _, length in prompts:
                if length > self.facts.context_tokens:
                    raise ContextOverflow(length, self.facts.context_tokens, param=param)
            generation, report = request.generation, request.generation.report
            prompt_tokens = sum(length for _, length in prompts)
            yield self._accepted(generation, prompts)
            cut = [_cut(pieces, generation) for pieces in answers]
            lengths = [length for _, length in prompts for _ in range(generation.choices)]
            if report.progress:
                for choice, length in enumerate(lengths):
                    yield PromptProgress(choice, length, 0, 0, 0.0)
                    yield PromptProgress(choice, length, 0, length, 10.0)
            for index in range(max(len(pieces) for pieces, _, _ in cut)):
                await asyncio.sleep(self._token_delay_seconds)
                for choice, (pieces, _, _) in enumerate(cut):
                    for delta in _deltas(choice, pieces, index, generation):
                        yield delta
                self._fail_after(index + 1)
            for choice, (pieces, reason, stop) in enumerate(cut):
                usage = Usage(lengths[choice], len(pieces))
                yield Finished(choice, reason, stop, usage, _timings(max(0, len(pieces) - 1)))
            count = sum(len(pieces) for pieces, _, _ in cut)
            timed = sum(max(0, len(pieces) - 1) for pieces, _, _ in cut)
            yield Completed(Usage(prompt_tokens, count), _timings(timed))
            done = True
        finally:
            self.running -= 1
            self.cancelled += not done

    def _accepted(self, generation: Generation, prompts: Sequence[tuple[str, int]]) -> Accepted:
        sampling = generation.sampling.over(self.facts.sampling)
        return Accepted(
            self.facts.name,
            sum(length for _, length in prompts),
            context_tokens=self.facts.context_tokens,
            generation=replace(generation, sampling=sampling),
            prompts=tuple(text for text, _ in prompts) if generation.report.prompts else (),
        )

    def _fail_after(self, pieces: int) -> None:
        if self.failure is not None and pieces == (self.failure_after or 0):
            raise self.failure


def fake_spec(name: str = FAKE_NAME, aliases: tuple[str, ...] = ()) -> ModelSpec:
    """A model that is nowhere."""
    return ModelSpec(name, LocalFile(Path(f"{name}.gguf")), aliases)


def fake_manager(
    backend: FakeBackend,
    *,
    spec: ModelSpec | None = None,
    load_seconds: float = 0.0,
    failure: LocalserveError | None = None,
    max_waiting: int = 64,
) -> ModelManager:
    """A manager that 'loads' `backend` in `load_seconds`, or fails with `failure` after them."""

    async def load(loaded: ModelSpec, need: Need, progress: Progress) -> FakeBackend:
        progress(0.5)
        await asyncio.sleep(load_seconds)
        if failure is not None:
            raise failure
        return backend

    spec = spec or fake_spec(backend.facts.name)
    return ModelManager(
        spec,
        load,
        offer=FakeOffer((spec,)),
        estimate=fake_estimate({}),
        room=FakeRoom(),
        max_waiting=max_waiting,
    )


class FakeOffer:
    """A disk with these models on it."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        self.specs = tuple(specs)

    async def find(self, name: str) -> ModelSpec:
        for spec in self.specs:
            if name.casefold() in {known.casefold() for known in spec.names}:
                return spec
        raise UnknownModel(name, tuple(spec.name for spec in self.specs))

    async def everything(self) -> tuple[ModelSpec, ...]:
        return self.specs


class FakeRoom:
    """A machine with `total_bytes` of RAM for models, all of which are always where the ledger says
    they are. Other programs hold `others_bytes`."""

    def __init__(self, total_bytes: int = 1 << 40) -> None:
        self.total_bytes = total_bytes
        self.others_bytes = 0

    async def measure(self, held: Mapping[str, int]) -> Mapping[str, int]:
        return {RAM: max(0, self.total_bytes - self.others_bytes - held.get(RAM, 0))}

    def most(self) -> Mapping[str, int]:
        return {RAM: self.total_bytes}

    @property
    def in_ram(self) -> Collection[str]:
        return ()

    async def used(self) -> Mapping[str, int]:
        return {}

    async def recover(self, before: Mapping[str, int], freed: Mapping[str, int]) -> None:
        pass


def fake_estimate(weights_bytes: Mapping[str, int], context_tokens: int = 4096) -> Estimate:
    """Models of so many bytes by name, else none, and one byte for each token of context."""

    async def estimate(spec: ModelSpec, wanted: Wanted) -> Need:
        tokens = wanted.context_tokens or context_tokens
        sizes = DeviceUsage(RAM, weights_bytes.get(spec.name, 0), tokens, 0)
        return Need(Placed(Runtime(tokens, 8), MemoryUsage((sizes,), 0), RAM, wanted.parallel or 8))

    return estimate


def _timings(timed: int) -> Timings:
    return Timings(0.0, 10.0, 10.0 * timed, timed)


def _rendered(messages: Sequence[Message]) -> str:
    return "".join(f"{message.role}: {message.content or ''}\n" for message in messages)


def _words_of(request: ChatRequest) -> int:
    return sum(_words(message.content or "") for message in request.messages)


def _words(text: str) -> int:
    return len(text.split())


def _cut(
    pieces: Sequence[Piece], generation: Generation
) -> tuple[list[Piece], FinishReason, str | None]:
    """The pieces up to a stop string or the limit, and which of the two ended them.

    Stop strings are found where an answer is nothing but text.
    """
    said = [piece for piece in pieces if isinstance(piece, str)]
    text = "".join(said)
    found = [(text.index(stop), stop) for stop in generation.stop if stop in text]
    called = any(isinstance(piece, ToolCall) for piece in pieces)
    reason: FinishReason = "tool_calls" if called else "stop"
    stop = None
    kept = list(pieces)
    if found and len(said) == len(pieces):
        end, stop = min(found)
        kept = []
        for piece in said:
            if end > 0:
                kept.append(piece[:end])
                end -= len(piece)
    limit = generation.max_tokens
    if limit is not None and len(kept) > limit:
        kept, reason, stop = kept[:limit], "length", None
    return kept, reason, stop


def _deltas(
    choice: int, pieces: Sequence[Piece], index: int, generation: Generation
) -> Iterator[Delta]:
    """What the piece with this number brings, if there is one."""
    if index >= len(pieces):
        return
    match pieces[index]:
        case Thought(text):
            yield ReasoningDelta(choice, text)
        case ToolCall(id, name, arguments):
            number = sum(isinstance(piece, ToolCall) for piece in pieces[:index])
            yield ToolCallBegun(choice, number, id, name)
            yield ArgumentsDelta(choice, number, arguments)
        case str(text):
            yield _delta(choice, text, generation)


def _delta(choice: int, piece: str, generation: Generation) -> TextDelta:
    token, top_logprobs = sum(piece.encode()) % 1000, generation.top_logprobs
    tokens = (token,) if generation.report.tokens else ()
    if top_logprobs is None:
        return TextDelta(choice, piece, tokens=tokens)
    best = TokenLogprob(token, piece, piece.encode(), -0.25)
    others = tuple(
        TokenLogprob(token + rank, f"{piece}{rank}", f"{piece}{rank}".encode(), -1.0 - rank)
        for rank in range(1, top_logprobs)
    )
    top = (best, *others)[:top_logprobs]
    scored = TokenLogprob(token, piece, piece.encode(), -0.25, top)
    return TextDelta(choice, piece, (scored,), tokens)


def _facts(name: str, context_tokens: int, aliases: tuple[str, ...] = ()) -> ModelFacts:
    return ModelFacts(
        name=name,
        aliases=aliases,
        architecture="fake",
        context_tokens=context_tokens,
        trained_context_tokens=2 * context_tokens,
        parallel=4,
        vocabulary_size=1000,
        embedding_length=64,
        parameters=1_000_000,
        weights_bytes=2_000_000,
        created=1_700_000_000,
        fills_middle=True,
        chat_template="{{ messages }}",
        device="none",
        file=f"{name}.gguf",
    )
