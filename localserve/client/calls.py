"""What can be asked of a server: each call with its path, its body and how its answer is read.

Pure; both clients are made of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from localserve.client.reading import (
    ChatReader,
    Document,
    PullReader,
    Reader,
    chat_answer,
    embeddings,
    loaded_model,
    loaded_models,
    models,
)
from localserve.client.values import (
    ChatAnswer,
    ChatChunk,
    Embeddings,
    LoadedModel,
    Message,
    Model,
    PullProgress,
)

Answer = TypeVar("Answer")
Piece = TypeVar("Piece")

Messages = str | Sequence[Message | Mapping[str, object]]
"""One message of the user, or a conversation; mappings are sent as they are."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A request on its way: what is sent, and whether an answer may take as long as it likes."""

    method: Literal["GET", "POST"]
    path: str
    body: Mapping[str, object] | None = None
    slow: bool = False

    @property
    def content(self) -> bytes | None:
        """The body as JSON."""
        return None if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A request with an answer in one piece. `read` gets the document and the request's id."""

    asking: Asking
    read: Callable[[Document, str], Answer]


@dataclass(frozen=True, slots=True)
class StreamCall(Generic[Piece]):
    """A request whose answer comes in pieces. `reader` gets the request's id."""

    asking: Asking
    reader: Callable[[str], Reader[Piece]]


class ChatOptions(TypedDict, total=False):
    """What may be said of an answer; all is optional. `extra` are further fields of the API."""

    model: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: str | Sequence[str]
    tools: Sequence[Mapping[str, object]]
    tool_choice: str | Mapping[str, object]
    response_format: Mapping[str, object]
    reasoning_effort: str
    extra: Mapping[str, object]


class LoadOptions(TypedDict, total=False):
    """How a model is to be loaded; what is left out is planned by the server."""

    context_tokens: int
    parallel: int
    cache_type_k: str
    cache_type_v: str
    gpu_layers: int
    cpu_moe_layers: int


def chat(messages: Messages, options: ChatOptions) -> Call[ChatAnswer]:
    """One answer to a conversation."""
    asking = Asking("POST", "/v1/chat/completions", _chat_body(messages, options), slow=True)
    return Call(asking, chat_answer)


def stream(messages: Messages, options: ChatOptions) -> StreamCall[ChatChunk]:
    """The same, as it is written; the last piece tells the usage."""
    body = _chat_body(messages, options) | {
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return StreamCall(Asking("POST", "/v1/chat/completions", body, slow=True), ChatReader)


def embed(
    inputs: str | Sequence[str], model: str | None, dimensions: int | None
) -> Call[Embeddings]:
    """A vector for each text."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    body = {"input": texts, "model": model, "dimensions": dimensions}
    return Call(Asking("POST", "/v1/embeddings", _given(body), slow=True), embeddings)


def list_models() -> Call[tuple[Model, ...]]:
    """What can be asked for."""
    return Call(Asking("GET", "/v1/models"), models)


def list_loaded() -> Call[tuple[LoadedModel, ...]]:
    """What was asked for so far, and how it does."""
    return Call(Asking("GET", "/admin/models"), loaded_models)


def load(name: str, options: LoadOptions) -> Call[LoadedModel]:
    """Load a model."""
    asking = Asking("POST", _admin_path(name, "load"), dict(options), slow=True)
    return Call(asking, loaded_model)


def unload(name: str, force: bool) -> Call[LoadedModel]:
    """Free a model's memory."""
    asking = Asking("POST", _admin_path(name, "unload"), {"force": force}, slow=True)
    return Call(asking, loaded_model)


def pull(name: str) -> StreamCall[PullProgress]:
    """Download a model."""
    body = {"model": name, "stream": True}
    return StreamCall(Asking("POST", "/api/pull", body, slow=True), PullReader)


def _admin_path(name: str, change: str) -> str:
    return f"/admin/models/{quote(name, safe='/')}/{change}"


def _chat_body(messages: Messages, options: ChatOptions) -> dict[str, object]:
    fields: dict[str, Any] = dict(options)
    extra = fields.pop("extra", {})
    return {"messages": _wire_messages(messages), **_given(fields), **extra}


def _wire_messages(messages: Messages) -> list[Mapping[str, object]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [_wire(one) if isinstance(one, Message) else one for one in messages]


def _wire(message: Message) -> Mapping[str, object]:
    fields: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
