"""Answers of the server as values: bodies, streams and errors. Pure.

Raises UnreadableAnswer where something else than localserve answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from localserve.client.errors import RequestFailed, StreamBroken, UnreadableAnswer, error_type
from localserve.client.values import (
    ChatAnswer,
    ChatChunk,
    Embeddings,
    LoadedModel,
    Model,
    PullProgress,
    ToolCall,
    ToolCallPiece,
    Usage,
)

Document = Mapping[str, Any]

Piece = TypeVar("Piece")
PieceOut = TypeVar("PieceOut", covariant=True)


def read_document(body: bytes, request_id: str) -> Document:
    """A JSON object. Raises: UnreadableAnswer."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        start = body[:80].decode(errors="replace")
        raise UnreadableAnswer(
            f"The answer is no JSON object: {start!r}. Is this a localserve server?",
            request_id=request_id,
        )
    return document


def reading(request_id: str, read: Callable[[], Piece]) -> Piece:
    """What `read` makes of a document. Raises: UnreadableAnswer, where fields are missing."""
    try:
        return read()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableAnswer(
            f"The answer is not as localserve gives it ({type(error).__name__}: {error}).",
            request_id=request_id,
        ) from error


def read_error(
    status: int, body: bytes, request_id: str, retry_after_seconds: float | None
) -> RequestFailed:
    """The error that an answer tells, in whichever dialect."""
    message, code, param = _error_parts(body)
    return error_type(status, code)(
        message or f"The server answered {status}.",
        status=status,
        code=code,
        param=param,
        request_id=request_id,
        retry_after_seconds=retry_after_seconds,
    )


def _error_parts(body: bytes) -> tuple[str, str, str | None]:
    """Message, code and field."""
    try:
        document = json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace").strip(), "", None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):  # Ollama's
        return error, "", None
    if not isinstance(error, dict):
        return "", "", None
    code, param = error.get("code"), error.get("param")
    return (
        str(error.get("message") or ""),
        code if isinstance(code, str) else "",
        param if isinstance(param, str) else None,
    )


def chat_answer(document: Document, request_id: str) -> ChatAnswer:
    """From the body of a chat completion."""
    choice = document["choices"][0]
    message = choice["message"]
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    )
    return ChatAnswer(
        text=message.get("content") or "",
        reasoning=message.get("reasoning_content") or "",
        tool_calls=calls,
        finish_reason=choice["finish_reason"],
        usage=_usage(document["usage"]),
        model=document["model"],
        request_id=request_id,
    )


def embeddings(document: Document, request_id: str) -> Embeddings:
    """From the body of an answer with vectors."""
    rows = sorted(document["data"], key=lambda row: int(row["index"]))
    return Embeddings(
        vectors=tuple(tuple(map(float, row["embedding"])) for row in rows),
        prompt_tokens=document["usage"]["prompt_tokens"],
        model=document["model"],
        request_id=request_id,
    )


def models(document: Document, request_id: str) -> tuple[Model, ...]:
    """From the list of the models."""
    return tuple(
        Model(
            name=one["id"],
            aliases=tuple(one.get("aliases") or ()),
            capabilities=tuple(one.get("capabilities") or ()),
            context_tokens=(one.get("meta") or {}).get("n_ctx"),
        )
        for one in document["data"]
    )


def loaded_models(document: Document, request_id: str) -> tuple[LoadedModel, ...]:
    """From `GET /admin/models`."""
    return tuple(loaded_model(one, request_id) for one in document["models"])


def loaded_model(document: Document, request_id: str) -> LoadedModel:
    """From one model of `/admin/models`."""
    return LoadedModel(
        name=document["id"],
        state=document["state"],
        problem=document["problem"],
        pinned=document["pinned"],
        context_tokens=document["context_tokens"],
        parallel=document["parallel"],
        running=document["running"],
        waiting=document["waiting"],
        memory_bytes=document["memory_bytes"],
    )


class Reader(Protocol[PieceOut]):
    """Makes pieces of the lines of a stream."""

    def feed(self, line: str) -> PieceOut | None:
        """The piece that a line completes. Raises: StreamBroken, UnreadableAnswer."""

    def end(self) -> None:
        """The stream has ended. Raises: StreamBroken, if that is not its end."""


class ChatReader:
    """Server-sent events of a chat.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which the server
    uses lines `data: JSON`, comments and the closing `[DONE]`.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._done = False

    def feed(self, line: str) -> ChatChunk | None:
        name, _, data = line.partition(":")
        if name != "data":
            return None
        if (data := data.strip()) == "[DONE]":
            self._done = True
            return None
        document = read_document(data.encode(), self._request_id)
        if "error" in document:
            raise _broken(data.encode(), self._request_id)
        return reading(self._request_id, lambda: _chunk(document))

    def end(self) -> None:
        if not self._done:
            raise StreamBroken(
                "The answer was cut off: the connection ended before the stream did.",
                request_id=self._request_id,
            )


class PullReader:
    """Lines of JSON of a download."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._done = False

    def feed(self, line: str) -> PullProgress | None:
        if not line.strip():
            return None
        document = read_document(line.encode(), self._request_id)
        if "error" in document:
            raise _broken(line.encode(), self._request_id)
        status = str(document.get("status", ""))
        self._done = status == "success"
        return PullProgress(
            status=status,
            digest=str(document.get("digest", "")),
            done_bytes=document.get("completed"),
            total_bytes=document.get("total"),
        )

    def end(self) -> None:
        if not self._done:
            raise StreamBroken(
                "The download's progress was cut off. Pull again: it goes on where it ended.",
                request_id=self._request_id,
            )


class Lines(Generic[Piece]):
    """Bytes in, pieces out, whatever pieces the network cut them into."""

    def __init__(self, reader: Reader[Piece]) -> None:
        self._reader = reader
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[Piece]:
        """The pieces that these bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            piece = self._reader.feed(line.decode(errors="replace").rstrip("\r"))
            if piece is not None:
                yield piece

    def end(self) -> None:
        """Raises: StreamBroken, if the stream has ended in the middle."""
        self._reader.end()


def collect(chunks: Iterable[ChatChunk], request_id: str = "") -> ChatAnswer:
    """The whole answer of a stream's pieces."""
    kept = list(chunks)
    calls: dict[int, ToolCall] = {}
    for piece in (piece for chunk in kept for piece in chunk.tool_calls):
        begun = calls.get(piece.index, ToolCall("", "", ""))
        calls[piece.index] = ToolCall(
            begun.id or piece.id, begun.name or piece.name, begun.arguments + piece.arguments
        )
    return ChatAnswer(
        text="".join(chunk.text for chunk in kept),
        reasoning="".join(chunk.reasoning for chunk in kept),
        tool_calls=tuple(calls[index] for index in sorted(calls)),
        finish_reason=next((one.finish_reason for one in kept if one.finish_reason), ""),
        usage=next((one.usage for one in kept if one.usage), Usage(0, 0)),
        model=next((one.model for one in kept if one.model), ""),
        request_id=request_id,
    )


def _chunk(document: Document) -> ChatChunk:
    choice = next(iter(document.get("choices") or ()), None) or {}
    delta = choice.get("delta") or {}
    usage = document.get("usage")
    return ChatChunk(
        text=delta.get("content") or "",
        reasoning=delta.get("reasoning_content") or "",
        tool_calls=tuple(_call_piece(call) for call in delta.get("tool_calls") or ()),
        finish_reason=choice.get("finish_reason"),
        usage=_usage(usage) if usage else None,
        model=document.get("model", ""),
    )


def _call_piece(call: Document) -> ToolCallPiece:
    function = call.get("function") or {}
    return ToolCallPiece(
        index=call["index"],
        id=call.get("id") or "",
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
    )


def _usage(document: Document) -> Usage:
    cached = (document.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(document["prompt_tokens"], document["completion_tokens"], cached)


def _broken(body: bytes, request_id: str) -> StreamBroken:
    message, code, _ = _error_parts(body)
    return StreamBroken(
        message or "The server ended the stream with an error.", request_id=request_id, code=code
    )
