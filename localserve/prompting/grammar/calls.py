"""Tool calls as a model's own format writes them, as rules of a grammar. Pure.

Markers stand as they are, the name is that of a tool, and the arguments follow its schema. Where a
format leaves open what its model was trained to write (which key names the tool, whether calls
stand in a list, whether an id comes with them), so does the grammar.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
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
    TaggedCalls,
    ToolCalls,
)

ID = r"/[A-Za-z0-9_.\-]{1,40}/"
QUOTED_ID = r'/"[A-Za-z0-9_.\-]{1,40}"|[0-9]{1,6}/'


class CallRules:
    """Writes the rules for calls of `tools` in the format `calls`."""

    def __init__(self, rules: Rules, calls: ToolCalls, tools: Sequence[Tool]) -> None:
        self._rules = rules
        self._calls = calls
        self._tools = tools

    @property
    def opener(self) -> str:
        """The marker that calls begin with; empty where they have none."""
        return self._calls.section.open or self._calls.each.open

    def rule(self, *, parallel: bool, opened: bool = False) -> str:
        """One call, or with `parallel` one or more. With `opened` the first marker was written."""
        rules, calls, gap = self._rules, self._calls, self._rules.gap
        section, each = calls.section, calls.each
        one = rules.rule("call", self._any_call())
        open, close = rules.marker(each.open), rules.marker(each.close)
        wrapped = rules.rule("whole_call", f"{open} {gap} {one} {gap} {close}") if close else (
            rules.rule("whole_call", f"{open} {gap} {one}") if open else one
        )
        first = f"{gap} {one} {gap} {close}".rstrip() if opened and not section.open else wrapped
        body = f"{first} ({self._between} {wrapped})*" if parallel else first
        if isinstance(calls.form, JsonCalls | LiteralCalls) and not (opened and not section.open):
            within = f"{one} ({self._comma} {one})*" if parallel else one
            listed = f'"[" {gap} {within} {gap} "]"'
            if not section.open and (each.open or each.close):
                listed = f"{open} {gap} {listed} {gap} {close}"
            body = f"({body} | {listed})"
        if section.open:
            before = "" if opened else rules.marker(section.open)
            end = rules.marker(section.close)
            body = f"{before} {gap} {body}" + (f" {gap} {end}" if end else "")
        return rules.rule("calls", body)

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

