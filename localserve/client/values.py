"""What a client sends and gets, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants made. `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `tool_call_id` says which call a `tool` message answers."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached_tokens` of the prompt were computed before."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer. `finish_reason` is "stop", "length" or "tool_calls"."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Usage
    model: str
    request_id: str

    @property
    def message(self) -> Message:
        """The answer as the next message of the conversation."""
        return Message("assistant", self.text, self.tool_calls)


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a call. The first one of an `index` has the id and the name."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of an answer. Most have some text; the last ones the reason of the end and usage."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector for each input, in the order of the inputs."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int
    model: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be asked for. `context_tokens` is known of loaded ones."""

    name: str
    aliases: tuple[str, ...]
    capabilities: tuple[str, ...]
    context_tokens: int | None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as the server holds it. `state` is "loading", "loaded", "failed" or "unloaded";
    `memory_bytes` are by device."""

    name: str
    state: str
    problem: str | None
    pinned: bool
    context_tokens: int | None
    parallel: int | None
    running: int
    waiting: int
    memory_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a download is. `digest` names the file; bytes are known while it comes."""

    status: str
    digest: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits this machine. `document` is all that `localserve fit --json` tells;
    `quantization` is the one that it is about."""

    fits: bool
    quantization: str | None
    document: Mapping[str, object]
