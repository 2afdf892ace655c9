"""Which questions have one answer, which answers are whole, and what a question's key is. Pure.

Whatever field a question gets in time is a part of its key, unless it is named here as one that
says nothing about the answer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from localserve.catalog.spec import ModelSpec
from localserve.chat import (
    DEFAULT_SAMPLING,
    Accepted,
    ChatRequest,
    Completed,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    Finished,
    Generation,
    InfillRequest,
    Message,
    Report,
)
from localserve.config import Settings
from localserve.response_cache.value import LAYOUT, Item

TextQuestion = ChatRequest | CompletionRequest | InfillRequest
Question = TextQuestion | EmbeddingRequest

Asking = TypeVar("Asking", ChatRequest, CompletionRequest, InfillRequest)

_NEUTRAL: Final = frozenset(
    {"model", "scope", "priority", "deadline_seconds", "file", "user", "keep_alive_seconds"}
)
"""Of a question: for whom and when, not what. The model is in the key as a file."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where an answer lies: `digest` in hex, below the name of the model that gave it."""

    model: str
    digest: str


def settled(request: Question, spec: ModelSpec, settings: Settings) -> Question:
    """The question with all that it leaves to the model and to the server filled in."""
    match request:
        case ChatRequest():
            return _settled_text(request, spec, settings)
        case CompletionRequest():
            return _settled_text(request, spec, settings)
        case InfillRequest():
            return _settled_text(request, spec, settings)
        case EmbeddingRequest():
            return request


def is_determined(request: Question) -> bool:
    """Whether a settled question has one answer: vectors, what is greedy, and what has a seed. A
    limit in seconds leaves it to the machine; one of no tokens wants the prompt computed."""
    if isinstance(request, EmbeddingRequest):
        return bool(request.inputs)
    generation = request.generation
    fixed = generation.sampling.temperature == 0 or generation.sampling.seed is not None
    return fixed and generation.line_seconds is None and generation.max_tokens != 0


def words_of(request: Question) -> str | None:
    """The words of a single question that may be asked in others; None where it is more than that:
    a conversation, with tools, or with an answer of a certain form."""
    if not isinstance(request, ChatRequest) or not request.messages or request.tools:
        return None
    *before, last = request.messages
    generation = request.generation
    plain = (generation.shape, generation.top_logprobs, generation.report) == (None, None, Report())
    if not plain or last.role != "user" or any(one.role != "system" for one in before):
        return None
    return last.content


def without_words(request: ChatRequest) -> ChatRequest:
    """The question without what `words_of` has."""
    *before, last = request.messages
    return replace(request, messages=(*before, replace(last, content="")))


def is_whole(items: Sequence[Item]) -> bool:
    """Whether nothing but the question decided where an answer ends, and what it was based on: not
    a context that was full."""
    if items and isinstance(items[-1], EmbeddingAnswer):
        return True
    if not items or not isinstance(items[-1], Completed):
        return False
    accepted = [item for item in items if isinstance(item, Accepted)]
    if len(accepted) != 1 or accepted[0].left_out_tokens:
        return False
    cap = accepted[0].generation.max_tokens
    cut = [item for item in items if isinstance(item, Finished) and item.reason == "length"]
    return not cut or (cap is not None and all(one.usage.completion_tokens >= cap for one in cut))


def key_of(
    request: Question,
    spec: ModelSpec,
    settings: Settings,
    *,
    files: object,
    scope: str,
    versions: Sequence[str],
) -> Key:
    """The key of a settled question. `files` say which model it is, `scope` who shares answers."""
    if settings.response_cache_fold_space:
        request = _folded(request)
    runs_as = [
        [getattr(one, name) for name in ("context_tokens", "cache_type_k", "cache_type_v")]
        for one in (spec, settings)
    ]
    asked = {
        "layout": LAYOUT,
        "versions": list(versions),
        "scope": scope,
        "model": [spec.name, files, spec.chat_template, spec.pooling, runs_as],
        "request": _plain(request, without=_NEUTRAL),
    }
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=str)
    return Key(spec.name, hashlib.sha256(text.encode()).hexdigest())


def _settled_text(request: Asking, spec: ModelSpec, settings: Settings) -> Asking:
    generation = request.generation
    sampling = generation.sampling.over(spec.sampling.over(DEFAULT_SAMPLING))
    if sampling.temperature == 0:
        sampling = replace(sampling, seed=None)  # nothing is drawn
    caps = (generation.max_tokens, spec.max_tokens, settings.default_max_tokens)
    cap = next((cap for cap in caps if cap is not None), None)
    made: Generation = replace(generation, sampling=sampling, max_tokens=cap, reuse=True)
    return replace(request, generation=made)


def _folded(request: Question) -> Question:
    """Runs of white space are one space, where people write for people."""
    match request:
        case ChatRequest():
            return replace(request, messages=tuple(map(_folded_message, request.messages)))
        case EmbeddingRequest():
            inputs = (_fold(one) if isinstance(one, str) else one for one in request.inputs)
            return replace(request, inputs=tuple(inputs))
        case _:
            return request


def _folded_message(message: Message) -> Message:
    return replace(message, content=None if message.content is None else _fold(message.content))


def _fold(text: str) -> str:
    return " ".join(text.split())


def _plain(value: Any, without: frozenset[str] = frozenset()) -> Any:
    """As JSON, in which classes have their names; the order of keys does not count there."""
    if dataclasses.is_dataclass(value):
        names = [one.name for one in dataclasses.fields(value) if one.name not in without]
        return [type(value).__name__, {name: _plain(getattr(value, name)) for name in names}]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
