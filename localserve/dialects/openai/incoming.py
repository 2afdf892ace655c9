"""What other servers answer in OpenAI's format, as events and values of the chat vocabulary.

They are not trusted: what is malformed is EngineFailed, never a traceback. Pure; knows nothing of
HTTP but its statuses.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    EmbeddingAnswer,
    Finished,
    FinishReason,
    ReasoningDelta,
    RerankAnswer,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.errors import (
    ContextOverflow,
    EngineFailed,
    InvalidRequest,
    LocalserveError,
    ModelUnusable,
    Overloaded,
)

MOST_QUOTED_CHARACTERS: Final = 300
UNKNOWN_TOKEN: Final = -1
"""The format has no ids of tokens."""

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""Anything else is 'stop'."""

Count = Annotated[int, Field(ge=0)]
Wire = TypeVar("Wire", bound=BaseModel)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Logprob(_Wire):
    token: str
    logprob: float
    bytes: list[Annotated[int, Field(ge=0, le=255)]] | None = None
    top_logprobs: list[_Logprob] = []

    def value(self) -> TokenLogprob:
        raw = self.token.encode() if self.bytes is None else bytes(self.bytes)
        top = tuple(one.value() for one in self.top_logprobs)
        return TokenLogprob(UNKNOWN_TOKEN, self.token, raw, self.logprob, top)


class _Logprobs(_Wire):
    content: list[_Logprob] | None = None


class _Function(_Wire):
    name: str | None = None
    arguments: str | None = None


class _Call(_Wire):
    index: Count = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(_Wire):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(_Wire):
    index: Count = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(_Wire):
    cached_tokens: Count | None = None


class _Usage(_Wire):
    prompt_tokens: Count = 0
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None

    def value(self) -> Usage:
        details = self.prompt_tokens_details
        cached = (details.cached_tokens if details is not None else None) or 0
        return Usage(self.prompt_tokens, self.completion_tokens or 0, cached)


class _Chunk(_Wire):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Vector(_Wire):
    index: Count
    embedding: list[float]


class _Vectors(_Wire):
    data: list[_Vector]
    usage: _Usage = _Usage()


class _Score(_Wire):
    index: Count
    relevance_score: float


class _Scores(_Wire):
    results: list[_Score]
    usage: _Usage = _Usage()


@dataclass(slots=True)
class _Written:
    """How far one choice is."""

    calls: dict[int, int] = field(default_factory=dict)
    ended: bool = False


class AnswerReader:
    """The events of one streamed answer, chunk by chunk; times are as they come in here."""

    def __init__(self, model: str, choices: int, context_tokens: int = 0) -> None:
        """`model` is the name that the answer goes by here."""
        self._accepted = Accepted(model, 0, context_tokens=context_tokens)
        self._begun = False
        self._written = [_Written() for _ in range(choices)]
        self._usage: Usage | None = None
        self._pieces = 0
        self._started = self._first = self._last = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether every choice has ended."""
        return all(one.ended for one in self._written)

    def take(self, data: bytes) -> Iterator[ChatEvent]:
        """The events of one chunk. Raises: EngineFailed; whatever an error in the stream means."""
        chunk = _read(_Chunk, data)
        if chunk.error is not None:
            raise _error_in_stream(data, chunk.error)
        if not self._begun:
            self._begun = True
            yield self._accepted
        if chunk.usage is not None:
            self._usage = chunk.usage.value()
        for choice in chunk.choices:
            if choice.index >= len(self._written):
                raise EngineFailed("The other server answered with more choices than were asked.")
            yield from self._of_choice(choice, self._written[choice.index])

    def end(self) -> Iterator[ChatEvent]:
        """The last event. Raises: EngineFailed, where the answer is not complete."""
        if not (self._begun and self.complete):
            raise EngineFailed("The other server ended its answer before it was complete.")
        usage = self._usage or Usage(0, self._pieces)
        timed = max(0, usage.completion_tokens - len(self._written))
        yield Completed(
            usage,
            Timings(
                prompt_ms=(self._first - self._started) * 1e3,
                answer_ms=(self._last - self._first) * 1e3,
                timed_tokens=timed,
            ),
        )

    def _of_choice(self, choice: _Choice, written: _Written) -> Iterator[ChatEvent]:
        if written.ended:
            return
        for event in self._deltas(choice, written):
            self._last = time.monotonic()
            if self._pieces == 0:
                self._first = self._last
            self._pieces += 1
            yield event
        if choice.finish_reason is not None:
            written.ended = True
            reason = _REASONS.get(choice.finish_reason, "stop")
            yield Finished(choice.index, reason, usage=self._usage or Usage(0, self._pieces))

    def _deltas(self, choice: _Choice, written: _Written) -> Iterator[ChatEvent]:
        delta = choice.delta or _Delta(content=choice.text)
        if thought := delta.reasoning_content or delta.reasoning:
            yield ReasoningDelta(choice.index, thought)
        scores = choice.logprobs.content if choice.logprobs is not None else None
        logprobs = tuple(one.value() for one in scores or ())
        if delta.content or logprobs:
            yield TextDelta(choice.index, delta.content or "", logprobs)
        for call in delta.tool_calls or ():
            yield from self._of_call(choice.index, call, written)

    def _of_call(self, choice: int, call: _Call, written: _Written) -> Iterator[ChatEvent]:
        """Calls are numbered here as they begin, whatever numbers they have there."""
        function = call.function or _Function()
        if call.index not in written.calls:
            if not function.name:
                raise EngineFailed("The other server began a tool call without a name.")
            number = written.calls[call.index] = len(written.calls)
            yield ToolCallBegun(choice, number, call.id or f"call{number:05}", function.name)
        if function.arguments:
            yield ArgumentsDelta(choice, written.calls[call.index], function.arguments)


def read_vectors(body: bytes, model: str, inputs: int) -> EmbeddingAnswer:
    """The vectors of an answer, made to have length 1. Raises: EngineFailed."""
    answer = _read(_Vectors, body)
    rows = {one.index: one.embedding for one in answer.data}
    widths = {len(row) for row in rows.values()}
    if sorted(rows) != list(range(inputs)) or (inputs and (len(widths) != 1 or 0 in widths)):
        raise EngineFailed("The other server did not answer with a vector for each input.")
    table = np.array([rows[index] for index in range(inputs)], np.float32).reshape(inputs, -1)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise EngineFailed("The other server answered with vectors that are no numbers.")
    table /= np.where(lengths > 0, lengths, 1)
    return EmbeddingAnswer(model, table, answer.usage.prompt_tokens)


def read_scores(body: bytes, model: str, documents: int) -> RerankAnswer:
    """The scores of an answer. Raises: EngineFailed."""
    answer = _read(_Scores, body)
    scores = {one.index: one.relevance_score for one in answer.results}
    if sorted(scores) != list(range(documents)):
        raise EngineFailed("The other server did not answer with a score for each document.")
    ordered = tuple(scores[index] for index in range(documents))
    return RerankAnswer(model, ordered, answer.usage.prompt_tokens)


def context_of(body: bytes, model: str) -> int | None:
    """The context of a model as a list of models tells it (`max_model_len`, or llama-server's
    `meta.n_ctx`); None where it does not."""
    try:
        entries = json.loads(body)["data"]
        entry = next(one for one in entries if one.get("id") == model)
        found = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx")
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def error_of(status: int, body: bytes, retry_after_seconds: int | None) -> LocalserveError:
    """What a refusal of another server means here."""
    text, error = _error_text(body)
    if status in (400, 413, 422):
        if _is_overflow(text, error):
            return _overflow(text, error)
        return InvalidRequest(f"The server of this model refused: {text}")
    if status in (401, 403):
        return ModelUnusable(
            f"The server of this model refused the key (status {status}): {text}",
            hint="Set the environment variable that key_env names in models.toml.",
        )
    if status == 404:
        return ModelUnusable(f"The server of this model does not have it: {text}")
    if status in (429, 503, 529):
        seconds = 5 if retry_after_seconds is None else retry_after_seconds
        return Overloaded(
            f"The server of this model is busy (status {status}): {text}",
            retry_after_seconds=seconds,
        )
    return EngineFailed(f"The server of this model failed with status {status}: {text}")


def quoted(error: object) -> str:
    """What an error of another server says, in one bounded line."""
    if isinstance(error, dict):
        error = error.get("message") or error
    text = error if isinstance(error, str) else json.dumps(error, default=str)
    line = "".join(one if one.isprintable() else " " for one in text)
    return line[:MOST_QUOTED_CHARACTERS] + "..." * (len(line) > MOST_QUOTED_CHARACTERS)


def _error_in_stream(data: bytes, error: object) -> LocalserveError:
    """vLLM and llama-server write into it which status it would have been."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return error_of(code, data, None)
    return EngineFailed(f"The other server failed: {quoted(error)}")


def _error_text(body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return quoted(body.decode("utf-8", "replace") or "it says nothing"), {}
    error = found.get("error", found) if isinstance(found, dict) else found
    return quoted(error), error if isinstance(error, dict) else {}


def _is_overflow(text: str, error: dict[str, Any]) -> bool:
    known = ("context_length_exceeded", "exceed_context_size_error")
    if error.get("code") in known or error.get("type") in known:
        return True
    return re.search(r"maximum context length|context (?:size|window|length)", text) is not None


def _overflow(text: str, error: dict[str, Any]) -> ContextOverflow:
    """With the numbers that it says."""
    prompt, context = error.get("n_prompt_tokens"), error.get("n_ctx")
    if not (isinstance(prompt, int) and isinstance(context, int)):
        found = [int(number) for number in re.findall(r"\d{2,9}", text)]
        context = min(found, default=0)
        prompt = max(found, default=context + 1)
    return ContextOverflow(prompt, context)


def _read(kind: type[Wire], data: bytes) -> Wire:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise EngineFailed(
            f"The other server does not speak OpenAI's format: {place}: {first['msg']}."
        ) from None
