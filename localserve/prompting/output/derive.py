"""Finds out how a model writes by comparing what its template makes of different conversations.

Pure; works on texts that were rendered elsewhere. What no template shows is in `families`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from localserve.prompting.output.calls_shown import derive_calls
from localserve.prompting.output.comparing import shared_end, shared_start
from localserve.prompting.output.families import known_family, mentioned_calls
from localserve.prompting.output.format import OutputFormat, Span, ToolCalls
from localserve.prompting.output.probes import NAMES, SAID, THOUGHT, USER, Rendered
from localserve.prompting.prefill import THINKING_MARKS

_THINK_MARKER = re.compile(r"<[^<>\s]*think[^<>\s]*>|\[THINK\]", re.IGNORECASE)
_MARKER = re.compile(r"\s*(<[^<>]+>|\[[A-Z_/]+\])")
LONGEST_TURN = 8_192
"""A longer turn, in characters, says nothing of its template."""

LONGEST_MARKER = 256

_OPENS = ("opened", "opened_thinking", "opened_direct")


def derive_format(source: str, rendered: Rendered) -> OutputFormat:
    """The format of the model whose template is `source`, with its rendered probes.

    A template is untrusted: what is longer than any honest one makes it is not looked at.
    """
    format = _derive(source, rendered)
    if max(map(len, (format.header, *format.markers)), default=0) > LONGEST_MARKER:
        return OutputFormat(calls=mentioned_calls(source))
    return format


def _derive(source: str, rendered: Rendered) -> OutputFormat:
    header = _header(rendered)
    family = known_family(source)
    if family is not None:
        header = header.rstrip().removesuffix(family.reasoning.open)
        ends, _ = _ends_and_content(rendered, header, family.reasoning)
        return replace(family, header=family.header or header, ends=family.ends or ends)
    reasoning = _reasoning(source, rendered, header)
    ends, content = _ends_and_content(rendered, header, reasoning)
    body = _Bodies(rendered, header, reasoning, content, ends)
    calls = derive_calls(
        body.of("call"),
        body.of("call_two_arguments"),
        body.of("two_calls"),
        body.of("call_name_in_id"),
        source,
    )
    if calls is None:
        calls = mentioned_calls(source)
    return OutputFormat(header, reasoning, content, calls, _but(ends, calls))


def _but(ends: tuple[str, ...], calls: ToolCalls | None) -> tuple[str, ...]:
    """Without those that are part of calls."""
    if calls is None:
        return ends
    own = (calls.section.open, calls.section.close, calls.each.open, calls.each.close)
    return tuple(end for end in ends if end not in own)


def turn_text(rendered: Rendered, name: str) -> str:
    """What a probe adds to the question alone; empty where it was refused."""
    text = rendered.get(name, "").rpartition(USER)[2]
    alone = rendered.get("asked" if name.startswith("opened") else "asked_tooled", "")
    shared = shared_start(text, alone.rpartition(USER)[2])
    turn = text[len(shared) :]
    return turn if len(turn) <= LONGEST_TURN else ""


def _header(rendered: Rendered) -> str:
    """How an assistant's turn begins."""
    turns = [text for name in ("said", "call") if (text := turn_text(rendered, name))]
    header = ""
    for name in _OPENS:
        shared = shared_start(turn_text(rendered, name), *turns)
        if turns and shared.strip():
            turns.append(shared)
            header = shared
    found = _THINK_MARKER.search(header)
    return header[: found.start()] if found else header


def _reasoning(source: str, rendered: Rendered, header: str) -> Span:
    text = turn_text(rendered, "thought")
    if THOUGHT in text and SAID in text:
        before, _, behind = text.partition(THOUGHT)
        open = before.removeprefix(header).strip()
        close = behind.partition(SAID)[0]
        with_call = turn_text(rendered, "thought_call").partition(THOUGHT)[2]
        if with_call:
            close = shared_start(close, with_call) or close
        if close.strip():
            return Span(open, close.strip())
    for open, close in THINKING_MARKS:
        if close in source:
            return Span(open, close)
    return Span("<think>", "</think>")


def _ends_and_content(
    rendered: Rendered, header: str, reasoning: Span
) -> tuple[tuple[str, ...], Span]:
    """What ends a turn, and what stands around its content."""
    said = turn_text(rendered, "said")
    if SAID not in said:
        return (), Span()
    before, _, behind = said.partition(SAID)
    call = turn_text(rendered, "call")
    end = behind
    if NAMES[0] in call:
        end = shared_end(behind, call)
    before = _bare(before.removeprefix(header), (reasoning.open, reasoning.close))
    close = behind.removesuffix(end).strip()
    span = Span(before, close) if before and close else Span()
    first = _MARKER.match(end) or (None if span.close else _MARKER.match(behind))
    return ((first[1],) if first else ()), span


def _bare(text: str, marks: tuple[str, ...]) -> str:
    """Text without marks and white space at its beginning."""
    while True:
        text = text.strip()
        for mark in marks:
            if mark and text.startswith(mark):
                text = text.removeprefix(mark)
                break
        else:
            return text


class _Bodies:
    """What is between a turn's header and its end."""

    def __init__(
        self,
        rendered: Rendered,
        header: str,
        reasoning: Span,
        content: Span,
        ends: tuple[str, ...],
    ) -> None:
        self._rendered = rendered
        self._header = header
        self._marks = (reasoning.open, reasoning.close, content.open, content.close)
        self._ends = ends

    def of(self, name: str) -> str:
        """The body of a probe; empty where it shows no call."""
        text = turn_text(self._rendered, name)
        if NAMES[0] not in text:
            return ""
        body = _bare(text.removeprefix(self._header), self._marks)
        for end in reversed(self._ends):
            body = body.rstrip().removesuffix(end)
        return body.rstrip()
