"""A model of other servers that speak OpenAI's format: vLLM, Ollama, llama-server, localserve.

Streams are passed on as they come. A server that fails before anything of its answer came is
followed by another, or asked again; after that nothing is repeated. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import httpx2

from localserve.backends.affinity import beginning_of
from localserve.backends.base import Capability, EngineStatus, ModelFacts
from localserve.backends.connections import Connections
from localserve.backends.event_lines import event_data
from localserve.backends.replicas import Server
from localserve.backends.tries import LONGEST_PAUSE_SECONDS, Tries, TryAgain
from localserve.catalog.spec import ModelSpec, RemoteEngine
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
    Sampling,
    TokenCount,
)
from localserve.dialects.openai.incoming import (
    AnswerReader,
    context_of,
    error_of,
    read_scores,
    read_vectors,
)
from localserve.dialects.openai.outgoing import (
    Fields,
    chat_fields,
    completion_fields,
    embedding_fields,
)
from localserve.engine.sequence import SequenceView
from localserve.errors import (
    EngineFailed,
    LocalserveError,
    ModelUnusable,
    NoFillMiddle,
    NotSupported,
    Overloaded,
    Unavailable,
    WrongTask,
)
from localserve.planner.usage import MemoryUsage

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 256 << 20
MAX_ERROR_BYTES: Final = 64 << 10
DONE: Final = b"[DONE]"

Result = TypeVar("Result")
Asking = TypeVar("Asking", ChatRequest, CompletionRequest)


@dataclass(frozen=True, slots=True)
class Reply:
    """How one server did when it was asked whether it is there."""

    base_url: str
    problem: str | None
    state: str
    running: int


async def connect(spec: ModelSpec) -> RemoteBackend:
    """The backend of a model whose servers are asked once whether they are there.

    Raises: ModelUnusable (a key that the environment lacks); EngineFailed, where none is there.
    """
    assert isinstance(spec.source, RemoteEngine)
    backend = RemoteBackend(spec, spec.source)
    try:
        await backend.greet()
    except BaseException:
        await backend.close()
        raise
    return backend


class RemoteBackend:
    """Speaks the Backend protocol; holds a pool of connections to each server."""

    def __init__(self, spec: ModelSpec, engine: RemoteEngine) -> None:
        """Raises: ModelUnusable, where the environment lacks a key that is named."""
        self._engine = engine
        self._sampling = spec.sampling
        self._max_tokens = spec.max_tokens
        self._closed = False
        self._servers = [Server(replica) for replica in engine.replicas]
        self._connections = {one: Connections(one.replica, engine) for one in self._servers}
        self.facts = _facts(spec, engine)
        self.memory: MemoryUsage | None = None

    # Answers

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Answer a conversation. Raises: as the protocol says; NotSupported."""
        self._check_task("completion")
        request = self._capped(request)
        fields = chat_fields(request, self._engine.model, self._over(request.generation.sampling))
        async with aclosing(
            self._stream("/chat/completions", fields, request, request.generation.choices)
        ) as events:
            async for event in events:
                yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[ChatEvent, None]:
        """Continue texts. Raises: as `chat`."""
        self._check_task("completion")
        request = self._capped(request)
        fields = completion_fields(
            request, self._engine.model, self._over(request.generation.sampling)
        )
        choices = len(request.prompts) * request.generation.choices
        async with aclosing(self._stream("/completions", fields, request, choices)) as events:
            async for event in events:
                yield event

    async def infill(self, request: InfillRequest) -> AsyncGenerator[ChatEvent, None]:
        """Nothing: the format has no word for it. Raises: NoFillMiddle."""
        raise NoFillMiddle(self.facts.name, None)
        yield

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Make texts into vectors. Raises: as the protocol says."""
        self._check_task("embedding")
        fields = embedding_fields(request, self._engine.model)
        name, count = self.facts.name, len(request.inputs)
        return await self._whole(
            "/embeddings", fields, request, lambda body: read_vectors(body, name, count)
        )

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        """Score documents. Raises: as `embed`."""
        self._check_task("rerank")
        fields: Fields = {
            "model": self._engine.model,
            "query": request.query,
            "documents": list(request.documents),
        }
        name, count = self.facts.name, len(request.documents)
        return await self._whole(
            "/rerank", fields, request, lambda body: read_scores(body, name, count)
        )

    async def tokenize(self, text: Prompt, *, add_special: bool, parse_special: bool) -> list[int]:
        raise self._unsupported("tokens")

    async def spell(self, tokens: Sequence[int]) -> list[bytes]:
        raise self._unsupported("tokens")

    async def render(self, request: ChatRequest, *, generation_prompt: bool = True) -> str:
        raise self._unsupported("prompts")

    async def count_tokens(self, request: ChatRequest) -> TokenCount:
        raise self._unsupported("counts of tokens")

    async def look(self) -> tuple[SequenceView, ...]:
        """Nothing: what its servers compute is theirs to tell."""
        return ()

    # What it is

    def status(self) -> EngineStatus:
        """Always alive: servers come back. Cells are unknown."""
        running = sum(one.running for one in self._servers)
        return EngineStatus(not self._closed, running, 0, 0, 0, 0.0)

    def reconfigure(self, spec: ModelSpec) -> None:
        """Take over names, sampling, caps and servers. What runs goes on where it is."""
        if isinstance(spec.source, RemoteEngine) and spec.source != self._engine:
            self._change_servers(spec, spec.source)
        self._sampling, self._max_tokens = spec.sampling, spec.max_tokens
        self.facts = replace(_facts(spec, self._engine), context_tokens=self.facts.context_tokens)

    def _change_servers(self, spec: ModelSpec, engine: RemoteEngine) -> None:
        """Those that are gone keep their connections until the model is unloaded."""
        known = {one.replica: one for one in self._servers}
        servers = [known.get(replica) or Server(replica) for replica in engine.replicas]
        try:
            made = {
                one: Connections(one.replica, engine)
                for one in servers
                if one not in self._connections
            }
        except ModelUnusable as error:
            log.error("%s keeps its servers: %s", spec.name, error)
            return
        self._engine, self._servers = engine, servers
        self._connections |= made

    async def responsive(self, timeout_seconds: float) -> bool:
        """Whether one of its servers answers in time."""
        return any(one.problem is None for one in await self.look_at_servers(timeout_seconds))

    async def look_at_servers(self, timeout_seconds: float) -> list[Reply]:
        """Ask all servers at once whether they are there."""
        return list(
            await asyncio.gather(*(self._ping(one, timeout_seconds) for one in self._servers))
        )

    async def greet(self) -> None:
        """Ask all servers for their models; learn the context. Raises: EngineFailed."""
        asked = (self._models_of(one) for one in self._servers)
        found = await asyncio.gather(*asked, return_exceptions=True)
        bodies = [one for one in found if isinstance(one, bytes)]
        if not bodies:
            problem = next(str(one) for one in found if isinstance(one, BaseException))
            raise EngineFailed(
                f"No server of {self.facts.name!r} answers: {problem}", retry_after_seconds=5
            )
        contexts = [context_of(body, self._engine.model) for body in bodies]
        known = [one for one in contexts if one is not None]
        if known and not self.facts.context_tokens:
            self.facts = replace(self.facts, context_tokens=min(known))

    async def close(self) -> None:
        """Give all connections back."""
        self._closed = True
        for connections in self._connections.values():
            with contextlib.suppress(Exception):
                await connections.close()

    # One request

    async def _stream(
        self, path: str, fields: Fields, request: object, choices: int
    ) -> AsyncGenerator[ChatEvent, None]:
        """The answer of the first server that begins one."""
        tries = Tries(self._servers, beginning_of(request), self.facts.name)
        while True:
            server = tries.next()
            begun = False
            try:
                async with aclosing(self._answer(server, path, fields, choices)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except TryAgain as failure:
                assert not begun, "an answer that has begun is not tried again"
                await tries.wait(server, failure)

    async def _answer(
        self, server: Server, path: str, fields: Fields, choices: int
    ) -> AsyncGenerator[ChatEvent, None]:
        """One server's answer. Raises: TryAgain, while nothing of it came; EngineFailed."""
        reader = AnswerReader(self.facts.name, choices, self.facts.context_tokens)
        begun = False
        async with _counted(server), self._asked(server, path, fields) as response:
            data = event_data(response.aiter_bytes())
            while True:
                seconds = self._engine.between_seconds if begun else self._first_seconds
                try:
                    async with asyncio.timeout(seconds):
                        one = await anext(data, DONE)
                    events = list(reader.end() if one == DONE else reader.take(one))
                except (httpx2.TransportError, TimeoutError, LocalserveError) as error:
                    failure = self._failure(server, error)
                    if begun and isinstance(failure, TryAgain):
                        raise failure.error from None
                    raise failure from None
                begun = begun or bool(events)
                for event in events:
                    yield event
                if one == DONE:
                    server.breaker.succeeded()
                    return

    async def _whole(
        self, path: str, fields: Fields, request: object, read: Callable[[bytes], Result]
    ) -> Result:
        """What the first server answers that does."""
        tries = Tries(self._servers, beginning_of(request), self.facts.name)
        while True:
            server = tries.next()
            try:
                async with _counted(server), self._asked(server, path, fields) as response:
                    return await self._answer_of(server, response, read)
            except TryAgain as failure:
                await tries.wait(server, failure)

    async def _answer_of(
        self, server: Server, response: httpx2.Response, read: Callable[[bytes], Result]
    ) -> Result:
        try:
            async with asyncio.timeout(self._first_seconds):
                body = await _read(response, MAX_BODY_BYTES)
            answer = read(body)
        except (httpx2.TransportError, TimeoutError, LocalserveError) as error:
            raise self._failure(server, error) from None
        server.breaker.succeeded()
        return answer

    @asynccontextmanager
    async def _asked(
        self, server: Server, path: str, fields: Fields
    ) -> AsyncIterator[httpx2.Response]:
        """The response of a server that takes the request. Raises: TryAgain; what it refuses."""
        async with self._connection(server) as client:
            request = client.build_request("POST", f"{server.replica.base_url}{path}", json=fields)
            try:
                async with asyncio.timeout(self._first_seconds):
                    response = await client.send(request, stream=True)
            except (httpx2.TransportError, TimeoutError) as error:
                raise self._failure(server, error) from None
            try:
                if response.status_code != 200:
                    raise await self._refused(server, response)
                yield response
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _connection(self, server: Server) -> AsyncIterator[httpx2.AsyncClient]:
        """One to that server. Raises: TryAgain, where all are in use, which is not its failure."""
        connections = self._connections[server]
        try:
            await connections.take()
        except Overloaded as error:
            raise TryAgain(error, elsewhere=True) from None
        try:
            yield connections.client
        finally:
            connections.give_back()

    async def _refused(
        self, server: Server, response: httpx2.Response
    ) -> LocalserveError | TryAgain:
        """What a status other than 200 means: who refuses is there, who fails counts as failed."""
        body = b""
        with contextlib.suppress(httpx2.TransportError, TimeoutError, EngineFailed):
            async with asyncio.timeout(self._engine.between_seconds):
                body = await _read(response, MAX_ERROR_BYTES)
        error = error_of(response.status_code, body, _retry_after(response))
        return self._failure(server, error, elsewhere=response.status_code not in (502, 504))

    def _failure(
        self, server: Server, error: Exception, *, elsewhere: bool = True
    ) -> LocalserveError | TryAgain:
        """What it means that a request ended so, which its breaker is told.

        `elsewhere` says whether a server that failed is not worth another try.
        """
        if not isinstance(error, LocalserveError):
            server.breaker.failed()
            return TryAgain(self._lost(server, error), elsewhere=isinstance(error, TimeoutError))
        if isinstance(error, Unavailable) and not isinstance(error, Overloaded):
            server.breaker.failed()
            return TryAgain(error, elsewhere=elsewhere)
        server.breaker.succeeded()
        if isinstance(error, Overloaded):
            return TryAgain(error, elsewhere=error.retry_after_seconds > LONGEST_PAUSE_SECONDS)
        return error

    # Parts

    @property
    def _first_seconds(self) -> float:
        return self._engine.first_token_seconds

    def _lost(self, server: Server, error: Exception) -> EngineFailed:
        """Clients are not told where servers are; the log is."""
        if isinstance(error, TimeoutError):
            what = "said nothing in time"
        elif isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            what = "cannot be reached"
        else:
            what = "broke the connection off"
        log.warning("%s of %s %s: %r", server.replica.base_url, self.facts.name, what, error)
        return EngineFailed(f"The server of {self.facts.name!r} {what}.", retry_after_seconds=5)

    async def _ping(self, server: Server, timeout_seconds: float) -> Reply:
        problem: str | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._models_of(server)
        except TimeoutError:
            problem = f"no answer within {timeout_seconds * 1e3:.0f} ms"
        except LocalserveError as error:
            problem = error.message
        return Reply(server.replica.base_url, problem, server.breaker.state, server.running)

    async def _models_of(self, server: Server) -> bytes:
        """Its list of models; b"" where it has none to show. Raises: EngineFailed."""
        client = self._connections[server].client
        try:
            async with asyncio.timeout(self._engine.connect_seconds):
                async with client.stream("GET", f"{server.replica.base_url}/models") as response:
                    if response.status_code >= 500:
                        raise EngineFailed(f"status {response.status_code}")
                    return await _read(response, MAX_ERROR_BYTES * 16)
        except (httpx2.TransportError, TimeoutError) as error:
            raise self._lost(server, error) from None

    def _over(self, sampling: Sampling) -> Sampling:
        return sampling.over(self._sampling)

    def _capped(self, request: Asking) -> Asking:
        """With models.toml's cap, where the request has none."""
        if request.generation.max_tokens is not None or self._max_tokens is None:
            return request
        return replace(request, generation=replace(request.generation, max_tokens=self._max_tokens))

    def _check_task(self, wanted: Capability) -> None:
        if wanted not in self.facts.capabilities:
            raise WrongTask(
                f"{self.facts.name!r} cannot do that: it is for"
                f" {' and '.join(self.facts.capabilities)}.",
                hint="GET /v1/models says which model can; `kind` and `pooling` in models.toml say"
                " it of this one.",
            )

    def _unsupported(self, what: str) -> NotSupported:
        return NotSupported(
            f"{self.facts.name!r} is served by another server, which tells no {what}.",
            param="model",
            hint="Ask a model of this machine, or that server itself.",
        )


@asynccontextmanager
async def _counted(server: Server) -> AsyncIterator[None]:
    """The server has one more request, which goes through its breaker."""
    number = server.breaker.enter()
    server.running += 1
    try:
        yield
    finally:
        server.running -= 1
        server.breaker.leave(number)


async def _read(response: httpx2.Response, most_bytes: int) -> bytes:
    """Raises: EngineFailed, where there is more."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most_bytes:
            raise EngineFailed(f"The other server answered with more than {most_bytes} bytes.")
    return bytes(body)


def _retry_after(response: httpx2.Response) -> int | None:
    text = response.headers.get("retry-after", "")
    return min(int(text), 3600) if text.isascii() and text.isdigit() else None


def _facts(spec: ModelSpec, engine: RemoteEngine) -> ModelFacts:
    shape = spec.shape
    capabilities: tuple[Capability, ...] = ("completion", "tools")
    if spec.pooling == "rank":
        capabilities = ("rerank",)
    elif spec.kind == "embedding" or spec.pooling is not None:
        capabilities = ("embedding",)
    return ModelFacts(
        name=spec.name,
        aliases=spec.aliases,
        architecture="remote",
        context_tokens=spec.context_tokens or 0,
        trained_context_tokens=shape.trained_context_tokens if shape is not None else 0,
        parallel=0,
        vocabulary_size=shape.vocabulary if shape is not None else 0,
        embedding_length=shape.embedding_length if shape is not None else 0,
        parameters=shape.parameters if shape is not None else 0,
        weights_bytes=0,
        created=0,
        fills_middle=False,
        device="remote",
        file=engine.model,
        capabilities=capabilities,
    )
