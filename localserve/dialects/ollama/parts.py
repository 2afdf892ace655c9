"""What an answer consists of here: pieces of text and of thinking, and whole calls.

Calls arrive in fragments and are given out with arguments that are an object. One whose arguments
are none (it was cut, or is not JSON) is given out as text, so that nothing is lost. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, assert_never

from localserve.chat import (
    Accepted,
    AnswerProgress,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegun,
)


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of content."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call; calls of one answer are numbered from 0."""

    index: int
    id: str
    name: str
    arguments: dict[str, Any]


Part = Said | Thought | Called


class Parts:
    """Takes the events of one answer, in any portions; `end` is its last event, once it came."""

    def __init__(self) -> None:
        self.model = ""
        self.reason = "stop"
        self.end: Completed | None = None
        self._call: ToolCallBegun | None = None
        self._arguments: list[str] = []

    def take(self, events: Iterable[ChatEvent]) -> list[Part]:
        """The parts that these events bring; neighbours of a kind are one."""
        parts: list[Part] = []
        for part in self._parts(events):
            before = parts[-1] if parts else None
            match before, part:
                case Said(), Said():
                    parts[-1] = Said(before.text + part.text, before.logprobs + part.logprobs)
                case Thought(), Thought():
                    parts[-1] = Thought(before.text + part.text)
                case _:
                    parts.append(part)
        return parts

    def _parts(self, events: Iterable[ChatEvent]) -> Iterator[Part]:
        for event in events:
            match event:
                case Accepted(model):
                    self.model = model
                case TextDelta(_, text, logprobs):
                    yield from self._end_call()
                    if text or logprobs:
                        yield Said(text, logprobs)
                case ReasoningDelta(_, text):
                    yield from self._end_call()
                    yield Thought(text)
                case ToolCallBegun():
                    yield from self._end_call()
                    self._call = event
                case ArgumentsDelta(_, _, text):
                    self._arguments.append(text)
                case Finished():
                    yield from self._end_call()
                    self.reason = "length" if event.reason == "length" else "stop"
                case Completed():
                    self.end = event
                case PromptProgress() | AnswerProgress():
                    pass  # nobody can ask for them here
                case _ as never:
                    assert_never(never)

    def _end_call(self) -> Iterator[Part]:
        call, text = self._call, "".join(self._arguments)
        self._call, self._arguments = None, []
        if call is None:
            return
        arguments = _object(text)
        if arguments is None:
            yield Said(f'{{"name": {json.dumps(call.name)}, "arguments": {text}')
        else:
            yield Called(call.index, call.id, call.name, arguments)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None where it is none."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> NoReturn:
    """NaN and the like are Python's, not JSON's."""
    raise ValueError(constant)
