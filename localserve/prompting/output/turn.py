"""Reads an answer that is reasoning, content and calls, in any order. Pure."""

from __future__ import annotations

from typing import assert_never

from localserve.prompting.output.format import (
    JsonCalls,
    LiteralCalls,
    NamedCalls,
    OutputFormat,
    TaggedCalls,
    ToolCalls,
)
from localserve.prompting.output.json_calls import read_json_calls, read_named_call
from localserve.prompting.output.literal_calls import read_literal_calls
from localserve.prompting.output.openers import Openers
from localserve.prompting.output.output import Output
from localserve.prompting.output.reader import Markers, Reader, Reading
from localserve.prompting.output.tagged_calls import read_tagged_call


class Turn:
    """One answer, or a part of one."""

    def __init__(self, reader: Reader, format: OutputFormat, out: Output, with_tools: bool) -> None:
        self._reader = reader
        self._format = format
        self._out = out
        self._calls = format.calls if with_tools else None
        self._openers = Openers(self._calls)
        self._wrappers = {format.content.open, format.content.close, *format.ends}
        self._strays = self._out_of_place(with_tools)
        self._no_close_later = False

    def read(self) -> Reading[None]:
        """All of the answer."""
        reasoning = self._format.reasoning
        if reasoning.close and not reasoning.open:
            yield from self._reason("")
        yield from self._bare_calls()
        yield from self.read_until(Markers([]))

    def read_until(self, stops: Markers) -> Reading[str | None]:
        """Up to one of `stops`, which is returned; None at the end."""
        reasoning = self._format.reasoning
        own = [reasoning.open, reasoning.close, *self._wrappers, *self._openers.texts]
        markers = Markers([*stops.texts, *own, *self._strays])
        while True:
            found = yield from self._reader.until(markers, self._out.content)
            if found is None or found in stops.texts:
                return found
            if found in self._wrappers:
                self._out.trim()
            elif found in self._openers.texts:
                yield from self._call(found)
            elif found not in (reasoning.open, reasoning.close):
                continue  # a special token that is out of place
            elif not self._counts(found):
                self._out.content(found)
            elif found == reasoning.open:
                yield from self._reason(found)
                yield from self._bare_calls()

    def _out_of_place(self, with_tools: bool) -> frozenset[str]:
        """Special tokens that are no text, wherever they stand. Calls without tools are text."""
        if with_tools or self._format.calls is None:
            return self._reader.special
        section, each = self._format.calls.section, self._format.calls.each
        around = (section.open, section.close, each.open, each.close)
        return frozenset(
            text for text in self._reader.special if not any(text in marker for marker in around)
        )

    def _counts(self, marker: str) -> bool:
        """Whether a mark of reasoning is one. Models also write about such marks: unless it is a
        token of its own, or looks like one, it counts only before all content."""
        return self._out.blank or "|" in marker or self._reader.was_special(marker)

    def _reason(self, opening: str) -> Reading[None]:
        """Reasoning up to its close, or up to a call if no close follows."""
        ends = Markers([self._format.reasoning.close, self._format.content.open])
        markers = Markers([*ends.texts, *self._format.ends, *self._openers.texts])
        self._out.begin_reasoning(opening)
        found = yield from self._reader.until(markers, self._out.reasoned)
        if found in self._openers.texts:
            found = yield from self._reason_on(found, ends)
        self._out.end_reasoning(found if found == self._format.reasoning.close else "")

    def _reason_on(self, opener: str, ends: Markers) -> Reading[str | None]:
        """Decide whether a call's opener in reasoning is a part of it: then a close follows."""
        if not self._no_close_later:
            parts: list[str] = []
            self._reader.begin_attempt()
            found = yield from self._reader.until(ends, parts.append)
            if found is not None:
                self._reader.keep()
                self._out.reasoned(opener + "".join(parts))
                return found
            self._no_close_later = True
            self._reader.give_up()
        self._reader.unread(opener)
        return None

    def _bare_calls(self) -> Reading[None]:
        """Calls without a marker before them, where the content begins with one."""
        calls = self._calls
        if calls is None or not calls.bare:
            return
        self._reader.begin_attempt()
        while (yield from self._read(calls, offered_only=True)):
            self._out.trim()
            self._reader.begin_attempt()
        self._reader.give_up()

    def _call(self, opener: str) -> Reading[None]:
        """The calls behind an opener; where there are none, it is text."""
        if self._reader.patient:
            self._reader.begin_attempt()
            if (yield from self._read_section(opener)):
                return
            self._reader.give_up()
        self._out.content(opener)

    def _read_section(self, opener: str) -> Reading[bool]:
        """All calls that follow one another; whether there was any."""
        assert self._calls is not None
        yield from self._openers.follow(self._reader, opener)
        if not (yield from self._read(self._calls)):
            return False
        while True:
            yield from self._openers.closers(self._reader)
            self._out.trim()
            self._reader.begin_attempt()
            yield from self._reader.spaces()
            if not (yield from self._openers.next(self._reader)):
                break
            if not (yield from self._read(self._calls)):
                break
        self._reader.give_up()
        return True

    def _read(self, calls: ToolCalls, *, offered_only: bool = False) -> Reading[bool]:
        """Calls that are not parted by markers; whether there was any."""
        yield from self._reader.spaces()
        reader, form, out = self._reader, calls.form, self._out
        only = {"offered_only": offered_only}
        match form:
            case JsonCalls():
                return (yield from read_json_calls(reader, form, out, **only))
            case NamedCalls():
                return (yield from read_named_call(reader, form, out, **only))
            case TaggedCalls():
                close = self._openers.call_close
                return (yield from read_tagged_call(reader, form, close, out))
            case LiteralCalls():
                return (yield from read_literal_calls(reader, form, out, **only))
            case _ as never:
                assert_never(never)
