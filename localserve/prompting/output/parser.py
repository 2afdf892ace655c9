"""Takes an answer apart as it arrives: reasoning, content, tool calls.

Fed with text and the places of special tokens in it. It holds back only what may become a marker,
never takes anything back, and never fails: what cannot be parsed comes out as the text it is. How
the text was cut does not change the result. Work is linear in the text's length. Pure; one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from localserve.prompting.output.addressed import read_messages
from localserve.prompting.output.deltas import Piece
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.output import Output
from localserve.prompting.output.reader import Reader, Reading
from localserve.prompting.output.schema import Schema
from localserve.prompting.output.turn import Turn

Tools = Mapping[str, Schema | None]
"""The offered tools: their parameters' schemas by name."""


class AnswerParser:
    """Parses one answer. Without `tools` a call is text like any other.

    `special` are the spellings of the vocabulary's special tokens among the format's markers. With
    `reasoning_apart` false, reasoning stays in the content with its markers. With `calls_only`
    there is no other content: a grammar lets nothing come but reasoning and calls, so what is
    neither is the markup of a call that was cut before its name.
    """

    def __init__(
        self,
        format: OutputFormat,
        tools: Tools | None = None,
        *,
        special: Iterable[str] = (),
        reasoning_apart: bool = True,
        calls_only: bool = False,
    ) -> None:
        self.calls_only = calls_only
        self._reader = Reader(frozenset(special))
        self._out = Output(tools or {}, reasoning_apart, calls_only)
        self._work = self._parse(format, bool(tools))
        self._running = True
        self._advance()

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes next is reasoning, as far as is known now."""
        return self._out.in_reasoning

    def begin(self, text: str) -> None:
        """Take over what the prompt says already on the assistant's behalf; it is not given out."""
        self._reader.feed(text, range(len(text)))
        self._advance()
        self._out.discard()
        self._reader.muted_until = self._reader.fed

    def feed(self, text: str, special_at: Iterable[int] = ()) -> list[Piece]:
        """What more text adds; `special_at` are the offsets in it at which special tokens begin."""
        self._reader.feed(text, special_at)
        self._advance()
        return self._out.take()

    def finish(self) -> list[Piece]:
        """The answer is over: all that was held back."""
        self._reader.ended = True
        self._advance()
        return self._out.take()

    def _advance(self) -> None:
        if self._running:
            try:
                next(self._work)
            except StopIteration:
                self._running = False

    def _parse(self, format: OutputFormat, with_tools: bool) -> Reading[None]:
        turn = Turn(self._reader, format, self._out, with_tools)
        if format.addressed is not None:
            yield from read_messages(self._reader, format, self._out, with_tools, turn.read_until)
        else:
            yield from turn.read()
        self._out.finish()
