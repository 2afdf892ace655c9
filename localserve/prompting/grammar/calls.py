"""Tool calls as a model's own format writes them, as rules of a grammar. Pure.

Markers stand as they are, the name is that of a tool, and the arguments follow its schema. Where a
format leaves open what its model was trained to write (which key names the tool, whether calls
stand in a list, whether an id comes with them), so does the grammar.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import assert_never

from localserve.chat import Tool
from localserve.prompting.grammar.arguments import LiteralArguments, TaggedArguments
from localserve.prompting.grammar.rules import Rules
from localserve.prompting.grammar.schema import ANY_OBJECT, arguments_schema
from localserve.prompting.grammar.source import SchemaPart, literal
from localserve.prompting.output.format import (
    JsonCalls,
    LiteralCalls,
    NamedCalls,
    Span,
    TaggedCalls,
    ToolCalls,
)
from localserve.prompting.output.openers import split_markers

ID = r"/[A-Za-z0-9_.:\-]{1,64}/"
MOST_CALLS = 16
"""Of one answer."""

IN_A_TAG = "\"'=.:"
"""What a marker ends with whose tag goes on with a name."""

QUOTED_ID = r'/"[A-Za-z0-9_.:\-]{1,64}"|[0-9]{1,6}/'


class CallRules:
    """Writes the rules for calls of `tools` in the format `calls`."""

    def __init__(self, rules: Rules, calls: ToolCalls, tools: Sequence[Tool]) -> None:
        self._rules = rules
        self._calls = calls
        self._tools = tools

    @property
    def chain(self) -> list[str]:
        """The markers that calls begin with, of which models leave out the first ones."""
        calls = self._calls
        return [*split_markers(calls.section.open), *split_markers(calls.each.open)]

    def rule(self, *, parallel: bool) -> str:
        """One call, or with `parallel` one or more."""
        open, close = self._around(self._calls.section)
        return self._rules.rule("calls", f"{open} ({self._body(parallel)}) {close}")

    def behind(self, begun: int, *, parallel: bool) -> str:
        """The same behind the first `begun` markers of the chain."""
        rules, section, each = self._rules, self._calls.section, self._calls.each
        rest = f" {rules.gap} ".join(map(rules.marker, self.chain[begun:]))
        _, close_all = self._around(section)
        _, close = self._around(each)
        first = f"{self._one} {close}{self._more(parallel)}"
        if isinstance(self._calls.form, JsonCalls | LiteralCalls):
            first = f"({first} | {self._listed(parallel)} {close})"
        gap = self._gap_behind(self.chain[-1])
        return f"{rules.gap if rest else ''} {rest} {gap} {first} {close_all}"

    @cached_property
    def _one(self) -> str:
        return self._rules.rule("call", self._any_call())

    def _body(self, parallel: bool) -> str:
        open, close = self._around(self._calls.each)
        body = f"{self._whole}{self._more(parallel)}"
        if isinstance(self._calls.form, JsonCalls | LiteralCalls):
            listed = self._listed(parallel)
            if not self._calls.section.open:
                listed = f"{open} {listed} {close}"
            body = f"({body} | {listed})"
        return body

    @property
    def _whole(self) -> str:
        open, close = self._around(self._calls.each)
        return self._rules.rule("whole_call", f"{open} {self._one} {close}")

    def _more(self, parallel: bool) -> str:
        return f" ({self._between} {self._whole}){{0,{MOST_CALLS - 1}}}" if parallel else ""

    def _listed(self, parallel: bool) -> str:
        more = f"({self._comma} {self._one}){{0,{MOST_CALLS - 1}}}" if parallel else ""
        return f'"[" {self._rules.gap} {self._one} {more} {self._rules.gap} "]"'

    def _around(self, span: Span) -> tuple[str, str]:
        """The markers of a span, with the white space that may lie within them."""
        rules = self._rules
        open, close = rules.marker(span.open), rules.marker(span.close)
        before = f"{open} {self._gap_behind(span.open)}" if open else ""
        return before, f"{rules.gap} {close}" if close else ""

    def _gap_behind(self, marker: str) -> str:
        """White space, but not where a marker ends in the middle of a tag."""
        return "" if marker and marker[-1] in IN_A_TAG else self._rules.gap

    @property
    def _comma(self) -> str:
        gap = self._rules.gap
        return self._rules.rule("comma", f'{gap} "," {gap}')

    @property
    def _between(self) -> str:
        """What parts calls without markers of their own."""
        form = self._calls.form
        bare_objects = isinstance(form, JsonCalls) and not self._calls.each.open
        if not bare_objects:
            return self._rules.gap
        gap = self._rules.gap
        return self._rules.rule("between", f'{gap} ","? {gap}')

    def _any_call(self) -> str:
        return " | ".join(
            self._rules.rule(f"call_{index}", self._call(tool, f"call_{index}"))
            for index, tool in enumerate(self._tools)
        )

    def _call(self, tool: Tool, name: str) -> str:
        form = self._calls.form
        match form:
            case JsonCalls():
                return self._json_call(form, tool, name)
            case NamedCalls():
                return named_call(self._rules, form, tool, name)
            case TaggedCalls():
                arguments = TaggedArguments(self._rules, form, tool, name).rule()
                end = self._rules.marker(form.name_end)
                return f"{literal(tool.name)} {end} {self._rules.gap} {arguments}"
            case LiteralCalls():
                arguments = LiteralArguments(self._rules, form, tool, name).rule()
                open, close = form.arguments.open, form.arguments.close
                return f"{literal(tool.name)} {literal(open)} {arguments} {literal(close)}"
            case _ as never:
                assert_never(never)

    def _json_call(self, form: JsonCalls, tool: Tool, name: str) -> str:
        gap = self._rules.gap
        written = literal(json.dumps(tool.name, ensure_ascii=False))
        arguments = arguments_part(self._rules, tool, name)
        if form.named_by_key:
            return f'"{{" {gap} {written} {gap} ":" {gap} {arguments} {gap} "}}"'
        id = f"{self._key(form.id_keys)} {self._rules.terminal(QUOTED_ID, 'QUOTEDID')}"
        kind = f"{self._key({'type'})} {literal(json.dumps('function'))}"
        comma = self._comma
        return (
            f'"{{" {gap} ({kind} {comma})? ({id} {comma})?'
            f" {self._key(form.name_keys)} {written} {comma}"
            f' {self._key(form.arguments_keys)} {arguments} ({comma} {id})? {gap} "}}"'
        )

    def _key(self, keys: Collection[str]) -> str:
        gap = self._rules.gap
        options = " | ".join(literal(json.dumps(key)) for key in sorted(keys))
        return f'({options}) {gap} ":" {gap}'


def named_call(rules: Rules, form: NamedCalls, tool: Tool, name: str, prefix: str = "") -> str:
    """A name with what belongs to it, then the arguments; `prefix` is written before the name."""
    gap = rules.gap
    written = literal(prefix + tool.name)
    end = rules.marker(form.name_end)
    id = rules.terminal(ID, "ID")
    mark = rules.marker(form.id_mark)
    if form.name_in_id:
        number = rules.terminal(r"/[0-9]{1,3}/", "NUMBER")
        written = f'"functions."? {written} ":" {number}'
    elif form.id_first and mark:
        written = f"({id} {mark})? {written}"
    elif mark:
        written = f"{written} ({mark} {id})?"
    return f"{written} {gap} {end} {gap} {arguments_part(rules, tool, name)}"


def arguments_part(rules: Rules, tool: Tool, name: str) -> str:
    """A tool's arguments as a JSON object."""
    return rules.part(SchemaPart(f"{name}_arguments", arguments_schema(tool.parameters)))


def loosened(tool: Tool) -> Tool:
    """The tool with any object as its arguments, unless it is strict."""
    return tool if tool.strict else Tool(tool.name, parameters=ANY_OBJECT)
