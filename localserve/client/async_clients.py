"""The asynchronous client: moves the bytes of what `calls.py` asks. Lives on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Generic, TypeVar, Unpack

import httpx2

from localserve.client import calls
from localserve.client.calls import Asking, Call, ChatOptions, LoadOptions, Messages, StreamCall
from localserve.client.exchange import (
    Came,
    Send,
    broken_by,
    exchange,
    read_answer,
    request_id_of,
)
from localserve.client.fitting import fit
from localserve.client.options import ClientOptions, http_options, target_of
from localserve.client.reading import Lines
from localserve.client.values import (
    ChatAnswer,
    ChatChunk,
    Embeddings,
    Fit,
    LoadedModel,
    Model,
    PullProgress,
)

Answer = TypeVar("Answer")
Piece = TypeVar("Piece")


class AsyncStream(Generic[Piece], AbstractAsyncContextManager["AsyncStream[Piece]"]):
    """An answer that comes in pieces: iterate over it (`async for`). Closing it ends the answer at
    the server.

    `request_id` is what the server's log calls the request.
    """

    def __init__(self, call: StreamCall[Piece], came: Came, response: httpx2.Response) -> None:
        self.request_id = request_id_of(came)
        self._response = response
        self._pieces = self._read(Lines(call.reader(self.request_id)))

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self._pieces

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Harmless when it has ended."""
        await self._response.aclose()

    async def _read(self, lines: Lines[Piece]) -> AsyncGenerator[Piece, None]:
        async with aclosing(self._response):
            try:
                async for data in self._response.aiter_bytes():
                    for piece in lines.feed(data):
                        yield piece
            except httpx2.TransportError as error:
                raise broken_by(error, self.request_id) from error
            lines.end()


class AsyncClient(AbstractAsyncContextManager["AsyncClient"]):
    """A client of the server at `url`, with a pool of connections.

    `api_key` is needed where the server has keys. Requests that find it busy, loading or not
    there are tried again as `retrying` says. All methods raise ClientError.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`transport` takes the place of the network, as in tests."""
        self._target = target_of(url, options)
        self._http = httpx2.AsyncClient(transport=transport, **http_options(url, options))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> ChatAnswer:
        """The answer to a message or a conversation."""
        return await self._ask(calls.chat(messages, options))

    async def stream(
        self, messages: Messages, **options: Unpack[ChatOptions]
    ) -> AsyncStream[ChatChunk]:
        """The same, as it is written. Returns when the server has accepted the request."""
        return await self._open(calls.stream(messages, options))

    async def embed(
        self,
        inputs: str | Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
    ) -> Embeddings:
        """A vector of length 1 for each text."""
        return await self._ask(calls.embed(inputs, model, dimensions))

    async def models(self) -> tuple[Model, ...]:
        """What can be asked for, loaded models first."""
        return await self._ask(calls.list_models())

    async def loaded(self) -> tuple[LoadedModel, ...]:
        """The models that were asked for so far, and how they do. Takes an admin's key."""
        return await self._ask(calls.list_loaded())

    async def load(self, name: str, **options: Unpack[LoadOptions]) -> LoadedModel:
        """Load a model; returns when it is loaded. Takes an admin's key."""
        return await self._ask(calls.load(name, options))

    async def unload(self, name: str, *, force: bool = False) -> LoadedModel:
        """Free a model's memory; `force` ends what it answers. Takes an admin's key."""
        return await self._ask(calls.unload(name, force))

    async def pull(self, name: str) -> AsyncStream[PullProgress]:
        """Download a model to the server's disk, telling how far it is; closing the stream ends the
        download. Takes an admin's key."""
        return await self._open(calls.pull(name))

    async def fit(
        self, name: str, *, context_tokens: int | None = None, offline: bool = False
    ) -> Fit:
        """Whether a model would fit this machine, where the client runs, and how."""
        return await asyncio.to_thread(fit, name, context_tokens=context_tokens, offline=offline)

    async def _ask(self, call: Call[Answer]) -> Answer:
        came, response = await self._exchange(call.asking, whole=True)
        await response.aclose()
        return read_answer(call, came)

    async def _open(self, call: StreamCall[Piece]) -> AsyncStream[Piece]:
        came, response = await self._exchange(call.asking, whole=False)
        return AsyncStream(call, came, response)

    async def _exchange(self, asking: Asking, *, whole: bool) -> tuple[Came, httpx2.Response]:
        steps = exchange(self._target, asking)
        step = next(steps)
        while True:
            try:
                if isinstance(step, Send):
                    try:
                        came, response = await self._send(step.request, whole=whole)
                    except httpx2.TransportError as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(came)
                else:
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
            except StopIteration as end:
                return end.value, response

    async def _send(self, request: httpx2.Request, *, whole: bool) -> tuple[Came, httpx2.Response]:
        response = await self._http.send(request, stream=True)
        body = b""
        if whole or response.is_error:
            async with aclosing(response):
                body = await response.aread()
        return Came(response.status_code, response.headers, body), response
