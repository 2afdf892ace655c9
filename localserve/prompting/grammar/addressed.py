"""Answers that are made of messages with an addressee, as rules of a grammar. Pure.

What the user is to read is a message for the user; a call is one for a tool, whose name is in the
message's head. Reasoning is a message for the model itself before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localserve.chat import Tool
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.calls import arguments_part
from localserve.prompting.grammar.rules import Rules
from localserve.prompting.grammar.shapes import answer_part
from localserve.prompting.grammar.source import literal
from localserve.prompting.output.format import Addressed, NamedCalls, OutputFormat

if TYPE_CHECKING:
    from localserve.prompting.grammar.answer import Demand, Opening

CHANNEL = "<|channel|>"


class AddressedRules:
    """Writes the rules of such an answer."""

    def __init__(self, rules: Rules, format: OutputFormat, tools: Sequence[Tool]) -> None:
        assert format.addressed is not None
        self._rules = rules
        self._format = format
        self._address: Addressed = format.addressed
        self._tools = tools

    def rule(self, demand: Demand, opening: Opening) -> str:
        """The whole answer. Raises: GrammarInvalid."""
        if self._format.calls is None or not isinstance(self._format.calls.form, NamedCalls):
            raise GrammarInvalid(
                "The form in which this model writes messages cannot be enforced.",
                param=demand.shape.field if demand.shape else "tools",
                hint="Leave out the schema or grammar, or use another model.",
            )
        options: list[str] = []
        if self._tools:
            options += [self._call(tool, index) for index, tool in enumerate(self._tools)]
        if not (self._tools and demand.calls.required):
            options.append(self._said(demand))
        message = self._rules.rule("message", " | ".join(options))
        again = self._again()
        body = f"{self._reasoning(opening, again)} {message}"
        if demand.tools and demand.calls.parallel and again:
            body += f" ({again} {message})*"
        return body

    def _reasoning(self, opening: Opening, again: str) -> str:
        marks, rules = self._format.reasoning, self._rules
        if self._address.recipient_mark == "" or not again:
            return ""
        start = rules.marker(self._address.start)
        thought = f"{rules.closed_by(marks.close)} {start}"
        if opening.inside:
            return rules.rule("reasoning", thought)
        return rules.rule("reasoning", f"({rules.marker(marks.open)} {thought})*")

    def _again(self) -> str:
        """Between two messages; empty where the first one's end ends the answer."""
        rules, start = self._rules, self._rules.marker(self._address.start)
        if not self._address.ends:
            return start
        end = rules.marker(self._address.ends[0])
        return f"{end} {start}" if end else ""

    def _head(self, channel: str, recipient: str) -> str:
        rules = self._rules
        if not self._address.recipient_mark:
            return f"{literal(recipient or 'all')} {literal(self._address.head_end)}"
        to = f"{literal(' ' + self._address.recipient_mark + recipient)}" if recipient else ""
        kind = rules.terminal(r"/ json/", "KIND")
        head = f"{rules.marker(CHANNEL)} {literal(channel)} {to} {kind}?"
        return f"{head} {rules.marker(self._address.head_end)}"

    def _call(self, tool: Tool, index: int) -> str:
        head = self._head("commentary", self._address.tool_prefix + tool.name)
        if self._address.recipient_mark:  # the recipient may come before the channel, too
            head = f"({head} | {self._head_of_recipient(self._address.tool_prefix + tool.name)})"
        return self._rules.rule(
            f"call_{index}", f"{head} {arguments_part(self._rules, tool, f'call_{index}')}"
        )

    def _head_of_recipient(self, recipient: str) -> str:
        rules = self._rules
        to = literal(f" {self._address.recipient_mark}{recipient}")
        channel = rules.terminal("/(commentary|analysis)( json)?/", "CHANNEL")
        return f"{to} {rules.marker(CHANNEL)} {channel} {rules.marker(self._address.head_end)}"

    def _said(self, demand: Demand) -> str:
        if demand.shape is not None:
            content = self._rules.part(answer_part(demand.shape))
        else:
            content = f"{self._rules.terminal('/(?s:.+)/', 'SAID')}?"
        return self._rules.rule("said", f"{self._head('final', '')} {content}")
