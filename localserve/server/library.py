"""`POST /api/pull` and `DELETE /api/delete`: models brought to this disk and removed from it;
`POST /admin/pulls/{name}/discard` what came of the former.

All are administration: the gateway lets only those who may. Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from localserve.catalog.download import Said
from localserve.dialects import ollama
from localserve.errors import LocalserveError
from localserve.manager import ModelManager
from localserve.manager.library import Arriving, Library, Looking, PullNews
from localserve.server.admin import EmptyBody, read_json
from localserve.server.asking import client_may_leave
from localserve.server.bodies import read_body
from localserve.server.errors import RouteUnknown, internal_error
from localserve.server.feed import ClientLeft
from localserve.server.records import record_of
from localserve.server.vectors import while_wanted

MOST_BODY_BYTES = 64 << 10


class DeleteEndpoint:
    """Unloads a model and deletes its files."""

    def __init__(self, manager: ModelManager, library: Library | None) -> None:
        self._manager = manager
        self._library = library

    async def delete(self, request: Request) -> Response:
        """Answers when it is gone.

        Raises: ModelInUse, UnknownModel, NotDownloaded, ModelUnusable (it belongs to others).
        """
        name = ollama.parse_delete(await read_body(request, MOST_BODY_BYTES))
        library = _existing(self._library)
        found = await library.find(name)
        await self._manager.forget(library.spec_of(found).name)
        await library.delete(found)
        return Response()


class DiscardEndpoint:
    """Deletes what came of a pull that was ended."""

    def __init__(self, library: Library | None) -> None:
        self._library = library

    async def discard(self, request: Request) -> Response:
        """Answers when it is gone, with the bytes freed. Raises: UnknownModel, ModelUnusable."""
        await read_json(request, EmptyBody)
        name: str = request.path_params["name"]
        freed = await _existing(self._library).discard(name)
        return JSONResponse({"model": name, "freed_bytes": freed})


class PullEndpoint:
    """Downloads a model, telling how far it is; ends the download when its client leaves."""

    def __init__(self, library: Library | None) -> None:
        self._library = library

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with client_may_leave(scope):
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = ollama.parse_pull(await read_body(Request(scope, receive), MOST_BODY_BYTES))
        record_of(scope).model = asked.name
        news = _existing(self._library).pull(asked.name)
        if asked.stream:
            await _Lines(scope, send).tell(news, receive)
            return
        await while_wanted(_listen(news), receive)
        await JSONResponse({"status": ollama.SUCCESS})(scope, receive, send)


class _Lines:
    """The progress as a stream. Its headers go out with the first news; what fails before is
    answered with a status of its own."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._started = False

    async def tell(self, news: AsyncGenerator[PullNews, None], receive: Receive) -> None:
        """Send all of it. Raises: ClientLeft; LocalserveError only before the headers."""
        try:
            await while_wanted(self._tell_all(news), receive)
        except ClientLeft:
            raise
        except LocalserveError as error:
            await self._fail(error)
        except Exception as error:
            await self._fail(internal_error(self._scope, error))

    async def _tell_all(self, news: AsyncGenerator[PullNews, None]) -> None:
        async with aclosing(news):
            async for one in news:
                await self._write(_line(one))
        await self._write(ollama.status_line(ollama.SUCCESS), more=False)

    async def _fail(self, error: LocalserveError) -> None:
        if not self._started:
            raise error
        record_of(self._scope).error = error.code
        await self._write(ollama.error_line(error), more=False)

    async def _write(self, text: str, *, more: bool = True) -> None:
        try:
            if not self._started:
                self._started = True
                headers = [(b"content-type", b"application/x-ndjson")]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send(
                {"type": "http.response.body", "body": text.encode(), "more_body": more}
            )
        except OSError:
            raise ClientLeft from None


def _existing(library: Library | None) -> Library:
    """Raises: RouteUnknown, where this server has none."""
    if library is None:
        raise RouteUnknown("This server neither fetches models nor deletes them.")
    return library


async def _listen(news: AsyncGenerator[PullNews, None]) -> None:
    async with aclosing(news):
        async for _ in news:
            pass


def _line(news: PullNews) -> str:
    match news:
        case Looking():
            return ollama.status_line("pulling manifest")
        case Arriving(digest, progress):
            return ollama.progress_line(digest, progress.done_bytes, progress.total_bytes)
        case Said(text):
            return ollama.status_line(text)
        case _ as never:
            assert_never(never)
