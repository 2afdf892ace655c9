"""One choice of a chat answer: the model's text as content, reasoning and tool calls.

Lives on the event loop.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Iterator
from typing import assert_never

from localserve.chat import (
    ArgumentsDelta,
    ChatEvent,
    Delta,
    Finished,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.engine.sequence import Ended
from localserve.prompting.output.deltas import (
    ArgumentsPiece,
    CallBegun,
    ContentPiece,
    Piece,
    ReasoningPiece,
)
from localserve.prompting.output.parser import AnswerParser

CALL_ID_CHARACTERS = 9
"""Letters and digits: there are templates that refuse ids of any other form."""


class Choice:
    """Feeds a parser. Log probabilities go with the content that comes next; those of reasoning,
    calls and markers are not told."""

    def __init__(self, number: int, parser: AnswerParser, *, parallel: bool = True) -> None:
        """Without `parallel` only the first call is given out."""
        self._number = number
        self._parallel = parallel
        self._parser = parser
        self._logprobs: list[TokenLogprob] = []
        self._called = False

    def take(
        self, text: str, special_at: Iterable[int], logprobs: Iterable[TokenLogprob]
    ) -> Iterator[ChatEvent]:
        """What more text adds to the answer."""
        self._logprobs += logprobs
        reasoned = self._parser.in_reasoning
        yield from self._deltas(self._parser.feed(text, special_at))
        if reasoned or self._parser.in_reasoning:
            self._logprobs.clear()

    def end(self, ended: Ended, usage: Usage, timings: Timings) -> Iterator[ChatEvent]:
        """All that was held back, and the end."""
        yield from self._deltas(self._parser.finish())
        if self._logprobs and not self._called and not self._parser.calls_only:
            yield TextDelta(self._number, "", self._take_logprobs())
        reason = "tool_calls" if self._called and ended.reason == "stop" else ended.reason
        yield Finished(self._number, reason, ended.stopped_by, usage, timings)

    def _deltas(self, pieces: list[Piece]) -> Iterator[Delta]:
        for piece in pieces:
            if isinstance(piece, CallBegun | ArgumentsPiece) and piece.index and not self._parallel:
                continue
            match piece:
                case ContentPiece(text):
                    yield TextDelta(self._number, text, self._take_logprobs())
                case ReasoningPiece(text):
                    self._logprobs.clear()
                    yield ReasoningDelta(self._number, text)
                case CallBegun(index, name, id):
                    self._logprobs.clear()
                    self._called = True
                    yield ToolCallBegun(self._number, index, id or _make_call_id(), name)
                case ArgumentsPiece(index, text):
                    self._logprobs.clear()
                    yield ArgumentsDelta(self._number, index, text)
                case _ as never:
                    assert_never(never)

    def _take_logprobs(self) -> tuple[TokenLogprob, ...]:
        taken = tuple(self._logprobs)
        self._logprobs.clear()
        return taken


def _make_call_id() -> str:
    """An id for a call to which the model gave none."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(CALL_ID_CHARACTERS))
