"""The common part of answers: identity, counts and times, and what one hand-over becomes.

Events in, JSON text out. A frame of a stream is put together from strings, because one is made for
each step of the engine; a whole body is not. Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from uuid import uuid4

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.openai.errors import error_frame
from localserve.dialects.openai.generation import NO_EXTRAS, Extras
from localserve.dialects.timings import Speed, progress_fields, timing_fields
from localserve.errors import LocalserveError

quote = encode_basestring_ascii
"""A JSON string in ASCII: no line separator of Unicode can end a line of a stream early."""

Text = TextDelta | ReasoningDelta | ArgumentsDelta
"""What neighbours of can be joined."""

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


class Answer(ABC):
    """Renders the events of one request, either as frames of a stream or as one body.

    Id, time and model are the same in all frames of one answer. `fingerprint` names what made the
    answer.
    """

    media_type = "text/event-stream; charset=utf-8"
    told_in_stream: tuple[type[LocalserveError], ...] = ()

    id_prefix: str
    whole_kind: str
    chunk_kind: str

    def __init__(
        self,
        *,
        choices: int,
        include_usage: bool,
        fingerprint: str,
        extras: Extras = NO_EXTRAS,
    ) -> None:
        self.choices = choices
        self.speed = Speed() if extras.timings else None
        self.tells_progress = extras.progress
        self.include_usage = include_usage
        self.fingerprint = fingerprint
        self.id = f"{self.id_prefix}-{uuid4().hex}"
        self.created = int(time.time())
        self._start = ""

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """The frames of `events` as server-sent events; `[DONE]` after the last."""
        text = "".join([f"data: {frame}\n\n" for frame in self.frames(events)])
        return f"{text}data: [DONE]\n\n" if isinstance(events[-1], Completed) else text

    def keepalive(self) -> str:
        """A comment, which clients overlook."""
        return ": keepalive\n\n"

    def stream_error(self, error: LocalserveError) -> str:
        """The last event of a stream that fails; there is no `[DONE]` after it."""
        return f"data: {error_frame(error)}\n\n"

    def frames(self, events: Sequence[ChatEvent]) -> Iterator[str]:
        """One JSON object for everything of a choice that `events` bring at once."""
        for event in merge_texts(events):
            if self.speed is not None:
                self.speed.observe(event)
            match event:
                case Accepted():
                    self._start = self._frame_start(event.model)
                    yield from self._first_frames()
                case PromptProgress():
                    if self.tells_progress:
                        yield self._timed(event.choice, self._progress_frame(event))
                case TextDelta():
                    if event.text or event.logprobs:
                        yield self._timed(event.choice, self._text_frame(event))
                case ReasoningDelta() | ToolCallBegun() | ArgumentsDelta():
                    yield self._timed(event.choice, self._turn_frame(event))
                case Finished():
                    yield self._timed(event.choice, self._finish_frame(event))
                case Completed():
                    yield from self._last_frames(event)

    def _timed(self, choice: int, frame: str) -> str:
        """The frame, with the times so far where they are asked for."""
        if self.speed is None:
            return frame
        return f'{frame[:-1]},"timings":{compact(self.speed.fields(choice))}}}'

    def _last_frames(self, end: Completed) -> Iterator[str]:
        """Counts, where they are asked for; the final route, where it is another than the headers
        may say. A frame without choices comes only to those who asked for it."""
        route: dict[str, object] = {"localserve_route": end.route} if end.route else {}
        if self.include_usage:
            counts: dict[str, object] = {
                "usage": usage_fields(end.usage),
                "timings": timing_fields(end.usage, end.timings),
            }
            yield f"{self._start}[],{compact(counts | route)[1:]}"
        elif route:
            yield f"{self._empty_frame(0)[:-1]},{compact(route)[1:]}"

    def _progress_frame(self, progress: PromptProgress) -> str:
        """A frame that brings nothing but how far the prompt is."""
        fields = compact(progress_fields(progress))
        return f'{self._empty_frame(progress.choice)[:-1]},"prompt_progress":{fields}}}'

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole answer as one JSON object."""
        model, gathered, end = "", [Gathered() for _ in range(self.choices)], None
        for event in events:
            match event:
                case Accepted():
                    model = event.model
                case TextDelta():
                    gathered[event.choice].texts.append(event.text)
                    gathered[event.choice].logprobs.extend(event.logprobs)
                case ReasoningDelta():
                    gathered[event.choice].reasoning.append(event.text)
                case ToolCallBegun():
                    gathered[event.choice].calls.append((event, []))
                case ArgumentsDelta():
                    gathered[event.choice].calls[event.index][1].append(event.text)
                case Finished():
                    gathered[event.choice].finish_reason = event.reason
                case Completed():
                    end = event
        assert end is not None, "the events of an answer end with Completed"
        whole = {
            **self._head(self.whole_kind, model),
            "choices": [self._choice(index, one) for index, one in enumerate(gathered)],
            "usage": usage_fields(end.usage),
            "timings": timing_fields(end.usage, end.timings),
        }
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))

    def _head(self, kind: str, model: str) -> dict[str, object]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": model,
            "system_fingerprint": self.fingerprint,
        }

    def _frame_start(self, model: str) -> str:
        head = json.dumps(self._head(self.chunk_kind, model), separators=(",", ":"))
        return f'{head[:-1]},"choices":'

    @abstractmethod
    def _empty_frame(self, choice: int) -> str: ...

    @abstractmethod
    def _first_frames(self) -> Iterator[str]: ...

    @abstractmethod
    def _text_frame(self, delta: TextDelta) -> str: ...

    @abstractmethod
    def _finish_frame(self, end: Finished) -> str: ...

    @abstractmethod
    def _turn_frame(self, delta: ReasoningDelta | ToolCallBegun | ArgumentsDelta) -> str: ...

    @abstractmethod
    def _choice(self, index: int, whole: Gathered) -> dict[str, object]: ...


@dataclass(slots=True)
class Gathered:
    """All deltas of one choice; a call comes with the fragments of its arguments."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[tuple[ToolCallBegun, list[str]]] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)


def merge_texts(events: Sequence[ChatEvent]) -> Iterator[ChatEvent]:
    """The same events, neighbouring texts of a kind and choice joined, where they have no log
    probabilities."""
    if len(events) == 1:
        yield events[0]
        return
    joined: dict[int, Text] = {}
    for event in events:
        if isinstance(event, Accepted | Completed):
            yield event
            continue
        before = joined.pop(event.choice, None)
        both = None if before is None else _joined(before, event)
        if before is not None and both is None:
            yield before
        if both is not None:
            joined[event.choice] = both
        elif isinstance(event, TextDelta | ReasoningDelta | ArgumentsDelta) and not (
            isinstance(event, TextDelta) and event.logprobs
        ):
            joined[event.choice] = event
        else:
            yield event
    yield from joined.values()


def _joined(before: Text, event: ChatEvent) -> Text | None:
    """Both as one; None where they are not of one kind."""
    match before, event:
        case TextDelta(), TextDelta() if not event.logprobs:
            return TextDelta(before.choice, before.text + event.text)
        case ReasoningDelta(), ReasoningDelta():
            return ReasoningDelta(before.choice, before.text + event.text)
        case ArgumentsDelta(), ArgumentsDelta() if before.index == event.index:
            return ArgumentsDelta(before.choice, before.index, before.text + event.text)
        case _:
            return None


def usage_fields(usage: Usage) -> dict[str, object]:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def compact(fields: Mapping[str, object]) -> str:
    """JSON without spaces."""
    return json.dumps(fields, separators=(",", ":"))


def finite(logprob: float) -> float:
    """A log probability that JSON can say."""
    return logprob if logprob > LOWEST_LOGPROB else LOWEST_LOGPROB
