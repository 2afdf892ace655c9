"""`/v1/responses`: answers that can be gone on from, read again and deleted.

A key sees its own responses only; while no key is needed, all share one scope. Lives on the event
loop.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from localserve.config import Settings
from localserve.dialects.openai.responses import (
    AskedResponse,
    Given,
    ResponseAnswer,
    parse_response,
)
from localserve.errors import InvalidRequest
from localserve.gateway.caller import caller_of
from localserve.manager import ModelManager
from localserve.server.chat import AnswerEndpoint, Exchange
from localserve.server.errors import PreviousResponseUnknown, ResponseUnknown
from localserve.server.response_store import ResponseStore


class ResponseEndpoint(AnswerEndpoint[AskedResponse]):
    """Answers within the conversation that a kept response ends."""

    def __init__(
        self,
        store: ResponseStore,
        manager: ModelManager,
        settings: Settings,
        *,
        headers_after_seconds: float,
    ) -> None:
        super().__init__(
            Exchange(parse_response, self._answer_to),
            manager,
            settings,
            headers_after_seconds=headers_after_seconds,
        )
        self._store = store

    async def _parse(self, scope: Scope, body: bytes) -> AskedResponse:
        """Raises: InvalidRequest, PreviousResponseUnknown."""
        asked = await super()._parse(scope, body)
        own = caller_of(scope).prefix_scope
        before = self._store.get(own, asked.previous_id) if asked.previous_id else None
        if asked.previous_id and before is None:
            raise PreviousResponseUnknown(
                f"The response {asked.previous_id!r} is not kept here (any more).",
                param="previous_response_id",
                hint="Send the whole conversation as input.",
            )
        history = before.items if before else ()
        return asked.after(history, lambda id: self._store.item(own, id), scope=own)

    def _answer_to(self, asked: AskedResponse) -> ResponseAnswer:
        def keep(given: Given) -> None:
            if asked.store:
                self._store.keep(asked.request.scope, given)

        return ResponseAnswer(asked, keep)


class Responses:
    """`GET` and `DELETE /v1/responses/{id}`."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store

    async def show(self, request: Request) -> Response:
        """The response as it was given. Raises: ResponseUnknown, InvalidRequest."""
        if request.query_params.get("stream") == "true":
            raise InvalidRequest(
                "A response that was given already is not streamed again.",
                param="stream",
                hint="Leave it out.",
            )
        id = request.path_params["id"]
        given = self._store.get(caller_of(request.scope).prefix_scope, id)
        if given is None:
            raise _unknown(id)
        return Response(given.body, media_type="application/json")

    async def delete(self, request: Request) -> Response:
        """Forget a response. Raises: ResponseUnknown."""
        id = request.path_params["id"]
        if not self._store.delete(caller_of(request.scope).prefix_scope, id):
            raise _unknown(id)
        return JSONResponse({"id": id, "object": "response", "deleted": True})


def _unknown(id: str) -> ResponseUnknown:
    return ResponseUnknown(
        f"The response {id!r} is not kept here (any more).",
        hint="Only the latest are, of requests without store: false.",
    )
