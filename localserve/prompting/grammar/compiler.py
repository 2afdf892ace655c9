"""Compiles grammars for one model, off the event loop and off the engine thread.

A grammar is untrusted. It is compiled within llguidance's limits, by a thread whose stack has room
for the deepest that is let through, and waited for only so long; one that is refused is refused by
name. What was compiled is kept, and copied for each answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from localserve.engine.constraint import MakeConstraint
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.cache import LeastRecentlyUsed
from localserve.prompting.grammar.matcher import MatcherConstraint, brief
from localserve.prompting.grammar.source import Grammar
from localserve.prompting.grammar.tokens import TokenTable, make_tokenizer

T = TypeVar("T")

STACK_BYTES = 256 << 20
"""Of the compiling thread; address space, of which only what is used becomes memory."""

COMPILE_SECONDS = 10.0
"""How long a request waits for its grammar."""

MOST_GRAMMARS = 64
MOST_BYTES = 4 << 20
"""Of the texts of the grammars that are kept. What llguidance holds is some hundred times that at
most: its lexer's states grow with use, and each answer has its own."""

LIMITS = LLParserLimits(
    max_items_in_row=2_000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=500_000,
    verbose_errors=False,
)
"""llguidance's defaults, but for the states: one or two kilobytes each, in every answer."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A grammar that has been compiled; call it for the constraint of an answer."""

    matcher: LLMatcher
    size: int
    ends: tuple[int, ...]

    def __call__(self) -> MatcherConstraint:
        return MatcherConstraint(self.matcher.deep_copy(), self.size, self.ends)


class GrammarCompiler:
    """Lives on the event loop; has one thread, from its first grammar on."""

    def __init__(self, table: TokenTable) -> None:
        self._table = table
        self._executor: ThreadPoolExecutor | None = None
        # Of the compiling thread:
        self._markers: frozenset[int] = frozenset()
        self._tokenizer: LLTokenizer | None = None
        self._kept = LeastRecentlyUsed[Compiled](MOST_GRAMMARS, MOST_BYTES)

    async def compile(
        self, grammar: Grammar, *, markers: Collection[int] = (), begun: str = ""
    ) -> MakeConstraint:
        """A maker of constraints for answers that follow the grammar.

        `markers` are special tokens of the model's format; `begun` is text with which the
        answer has begun already. Raises: GrammarInvalid.
        """
        await self._run(lambda: self._prepare(frozenset(markers)))
        compiling = self._run(lambda: self._compiled(grammar, begun))
        try:
            return await asyncio.wait_for(compiling, COMPILE_SECONDS)
        except TimeoutError:
            raise GrammarInvalid(
                f"The grammar in {grammar.field} was not compiled within {COMPILE_SECONDS:.0f} s.",
                param=grammar.field,
                hint="Send a simpler one.",
            ) from None

    def close(self) -> None:
        """Let the thread end with what it is doing."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "grammars")
        usual = threading.stack_size(STACK_BYTES)
        try:
            running = self._executor.submit(work)  # the first starts the thread
        finally:
            threading.stack_size(usual)
        return await asyncio.wrap_future(running)

    # On the compiling thread

    def _prepare(self, markers: frozenset[int]) -> None:
        if self._tokenizer is None or markers != self._markers:
            self._tokenizer = make_tokenizer(self._table, markers)
            self._markers = markers
            self._kept = LeastRecentlyUsed(MOST_GRAMMARS, MOST_BYTES)

    def _compiled(self, grammar: Grammar, begun: str) -> Compiled:
        text = grammar.text()
        key = f"{text}\n{begun}"
        found = self._kept.get(key)
        if found is None:
            found = self._compile(grammar, text, begun)
            self._kept.put(key, found, len(key))
        return found

    def _compile(self, grammar: Grammar, text: str, begun: str) -> Compiled:
        assert self._tokenizer is not None
        tokenizer = self._tokenizer
        matcher = _guarded(lambda: LLMatcher(tokenizer, text, log_level=0, limits=LIMITS), grammar)
        if matcher.is_error():
            raise _refusal(matcher.get_error(), grammar)
        if begun and not matcher.consume_tokens(tokenizer.greedy_tokenize(begun)):
            raise GrammarInvalid(
                f"The assistant's words that are to be continued do not fit {grammar.field}.",
                param="messages",
                hint="Leave them out, or begin them as the grammar or schema demands.",
            )
        compiled = Compiled(matcher, self._table.size, tuple(self._table.ends))
        if not begun:
            self._check_begins(compiled, grammar)
        return compiled

    def _check_begins(self, compiled: Compiled, grammar: Grammar) -> None:
        """Whether an answer can begin at all: what no text follows is refused now."""
        matcher = compiled.matcher.deep_copy()
        mask = _guarded(matcher.compute_bitmask, grammar)
        if matcher.is_error() or not any(mask):
            raise _refusal("no text follows it", grammar)


def _guarded(work: Callable[[], T], grammar: Grammar) -> T:
    """llguidance's result; what it raises, or panics with, is the grammar's fault."""
    try:
        return work()
    except Exception as failure:
        raise _refusal(str(failure), grammar) from failure
    except BaseException as panic:
        if type(panic).__module__ != "pyo3_runtime":
            raise
        raise _refusal(str(panic), grammar) from panic


def _refusal(reason: str, grammar: Grammar) -> GrammarInvalid:
    return GrammarInvalid(
        f"What {grammar.field} asks for cannot be enforced: {brief(reason)}.",
        param=grammar.field or None,
        hint="Leave out what the message names; nothing of it is ignored silently.",
    )
