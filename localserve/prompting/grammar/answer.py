"""The whole answer as a grammar: reasoning as the model marks it, then content or tool calls. Pure.

The grammar begins where the prompt ends, which may be within reasoning. Nothing constrains the
reasoning but that it is closed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from localserve.chat import CallPolicy, Shape, Tool
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.addressed import AddressedRules
from localserve.prompting.grammar.calls import CallRules, loosened
from localserve.prompting.grammar.rules import ANY, SOME, Rules
from localserve.prompting.grammar.shapes import answer_part
from localserve.prompting.grammar.source import Grammar, literal
from localserve.prompting.output.format import JsonCalls, OutputFormat, ToolCalls
from localserve.prompting.output.openers import Openers

FREE_CALLS = CallPolicy()


@dataclass(frozen=True, slots=True)
class Demand:
    """What is demanded of a chat answer: a shape of its content, and calls."""

    shape: Shape | None = None
    tools: tuple[Tool, ...] = ()
    calls: CallPolicy = FREE_CALLS

    @property
    def any(self) -> bool:
        """Whether it is more than free text and free calls."""
        return self.shape is not None or (bool(self.tools) and self._constrains_calls)

    @property
    def _constrains_calls(self) -> bool:
        calls = self.calls
        strict = any(tool.strict for tool in self.tools)
        return strict or calls.required or bool(calls.only)

    @property
    def callable(self) -> tuple[Tool, ...]:
        """The tools that may be called."""
        only = self.calls.only
        return tuple(tool for tool in self.tools if not only or tool.name in only)

    def loosened(self) -> Demand:
        """Without the schemas of tools that are not strict."""
        return replace(self, tools=tuple(map(loosened, self.tools)))


@dataclass(frozen=True, slots=True)
class Opening:
    """Where the answer begins: `inside` reasoning that the prompt has opened, or before any that
    the model `may_reason`."""

    inside: bool = False
    may_reason: bool = False


def grammar_of_answer(
    format: OutputFormat,
    demand: Demand,
    opening: Opening,
    *,
    special: Mapping[str, int],
    ends: Collection[int],
) -> Grammar:
    """The grammar of an answer. `special` are the ids of the special tokens among the format's
    markers, by their spelling; `ends` those that end an answer.

    Raises: GrammarInvalid.
    """
    rules = Rules(special, ends)
    if format.addressed is not None:
        body = AddressedRules(rules, format, demand.callable).rule(demand, opening)
    else:
        body = _Turn(rules, format, demand, opening).rule()
    rules.rule("start", body.strip())
    field = demand.shape.field if demand.shape else ("tools" if demand.tools else "")
    return Grammar(rules.text(), tuple(rules.parts), field)


class _Turn:
    """An answer that is reasoning, then content or calls."""

    def __init__(
        self, rules: Rules, format: OutputFormat, demand: Demand, opening: Opening
    ) -> None:
        self._rules = rules
        self._format = format
        self._demand = demand
        self._opening = opening
        self._call_rules: CallRules | None = None

    def rule(self) -> str:
        """The whole answer."""
        closed = f"{self._reasoning()} {self._body()}"
        calls = self._calls_within_reasoning()
        return f"({closed}) | {calls}" if calls else closed

    def _reasoning(self) -> str:
        rules, marks, opening = self._rules, self._format.reasoning, self._opening
        if not marks.close or not (opening.inside or opening.may_reason):
            return ""
        closed = f"{rules.closed_by(marks.close)} {rules.gap}"
        if opening.inside:
            return rules.rule("reasoning", closed)
        return rules.rule("reasoning", f"({rules.marker(marks.open)} {closed})?")

    def _body(self) -> str:
        """What comes behind the reasoning."""
        demand = self._demand
        content = self._content()
        if not demand.tools:
            return content
        form = self._format.calls
        if form is None:
            raise _unforced("It is not known how this model writes its calls")
        calls = self._calls(form)
        parallel = demand.calls.parallel
        if demand.calls.required:
            return calls.rule(parallel=parallel)
        if demand.shape is not None:
            if not calls.chain and not isinstance(form.form, JsonCalls):
                raise _unforced("This model calls tools without a marker")
            return f"({calls.rule(parallel=parallel)} | {content})"
        return self._text_and_calls(calls, form, parallel)

    def _calls(self, form: ToolCalls) -> CallRules:
        if self._call_rules is None:
            self._call_rules = CallRules(self._rules, form, self._demand.callable)
        return self._call_rules

    def _content(self) -> str:
        if self._demand.shape is None:
            return ""
        answer = self._rules.part(answer_part(self._demand.shape))
        marks = self._format.content
        if not marks.close:
            return answer
        gap = self._rules.gap
        open, close = self._rules.marker(marks.open), self._rules.marker(marks.close)
        return f"(({open} {gap})? {answer} ({gap} {close})?)"

    def _text_and_calls(self, calls: CallRules, form: ToolCalls, parallel: bool) -> str:
        """Free text up to a call, if there is one: what looks like a call is one."""
        rules = self._rules
        if not calls.chain:
            if not isinstance(form.form, JsonCalls):
                raise _unforced("This model calls tools without a marker")
            said = rules.terminal(r"/[^{\[\s](?s:.*)/", "SAID")
            return f"({said} | {calls.rule(parallel=parallel)})?"
        text = self._free_text()
        open, close = map(rules.marker, (self._format.content.open, self._format.content.close))
        said = f"{rules.terminal(f'({text}) & ({SOME})', 'SAID')}? {close + '?' if close else ''}"
        options = [said, *self._calls_behind(calls, text, said)]
        return f"{open}? ({' | '.join(options)})" if open else f"({' | '.join(options)})"

    def _calls_within_reasoning(self) -> str:
        """Calls that end reasoning which is never closed, as some models write them."""
        demand, form = self._demand, self._format.calls
        free = demand.tools and demand.shape is None and not demand.calls.required
        if not free or form is None or not self._opening.inside:
            return ""
        close = self._format.reasoning.close
        without = () if self._rules.starts_special(close) else (close,)
        text = self._free_text(*without)
        said = f"{self._rules.terminal(f'({text}) & ({SOME})', 'THOUGHT')}?"
        calls = self._calls(form)
        return " | ".join(self._calls_behind(calls, text, said))

    def _free_text(self, *without: str) -> str:
        """The body of a terminal for text in which no call begins, nor reasoning before it."""
        rules, marks = self._rules, self._format.reasoning
        openers = Openers(self._format.calls).texts
        plain = [text for text in openers if not rules.starts_special(text)]
        text = rules.any_text(*plain, *without)
        if not self._opening.may_reason or not marks.open or rules.starts_special(marks.open):
            return text
        anything = rules.terminal(ANY, "ANY")
        begun = rules.terminal(f"{literal(marks.open)} {anything}", "BEGUN")
        return f"{text} & ~{begun}"

    def _calls_behind(self, calls: CallRules, text: str, said: str) -> list[str]:
        """Text and calls, by which marker of the chain the calls begin with."""
        rules, options = self._rules, list[str]()
        openers = Openers(self._format.calls).texts
        for index, marker in enumerate(calls.chain):
            behind = calls.behind(index + 1, parallel=self._demand.calls.parallel)
            if rules.starts_special(marker):
                options.append(f"{said} {rules.gap} {rules.marker(marker)} {behind}")
            elif marker in openers:
                options.append(f"{rules.closed_by(marker, text)} {behind}")
        return options


def _unforced(why: str) -> GrammarInvalid:
    return GrammarInvalid(
        f"{why}, so that its calls cannot be enforced as asked.",
        param="tools",
        hint='Send tool_choice "required" or a named function, or leave out strict,'
        " parallel_tool_calls and response_format.",
    )
