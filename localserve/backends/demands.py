"""What requests demand of the form of their answers, compiled for the loaded model.

Knows formats and grammars; the engine gets nothing of them but a maker of constraints. Lives on the
event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from localserve.backends.conversation import Style
from localserve.chat import ChatRequest, Shape
from localserve.engine.constraint import MakeConstraint
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.answer import Demand, Opening, grammar_of_answer
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.grammar.shapes import grammar_of_shape
from localserve.prompting.grammar.tokens import TokenTable
from localserve.prompting.prefill import split_prefill


class Demands:
    """Of one model."""

    def __init__(self, vocabulary: TokenTable) -> None:
        self._vocabulary = vocabulary
        self._compiler = GrammarCompiler(vocabulary)

    async def of_chat(
        self, request: ChatRequest, style: Style, template: str, prompt: str, *, reasoning: bool
    ) -> MakeConstraint | None:
        """What the answer to `prompt` is kept within; None where nothing is demanded. `reasoning`
        says that the prompt ends within reasoning.

        Raises: GrammarInvalid.
        """
        demand = Demand(request.generation.shape, request.tools, request.calls)
        if not demand.any:
            return None
        prefill = split_prefill(request.messages)[1] if request.continue_last else None
        begun = (prefill.content or "") if prefill is not None else ""
        opening = Opening(reasoning, not begun and _may_reason(style, template, prompt))
        try:
            return await self._compile(demand, style, opening, begun)
        except GrammarInvalid:
            if all(tool.strict for tool in demand.tools):
                raise
        return await self._compile(demand.loosened(), style, opening, begun)

    async def of_completion(self, shape: Shape, style: Style) -> MakeConstraint:
        """What a text without turns is kept within. Raises: GrammarInvalid."""
        grammar = await asyncio.to_thread(grammar_of_shape, shape)
        return await self._compiler.compile(grammar, markers=style.special)

    def close(self) -> None:
        """End the compiler's thread."""
        self._compiler.close()

    async def _compile(
        self, demand: Demand, style: Style, opening: Opening, begun: str
    ) -> MakeConstraint:
        grammar = await asyncio.to_thread(
            grammar_of_answer,
            style.format,
            demand,
            opening,
            special=_by_spelling(style.special),
            ends=self._vocabulary.ends,
        )
        return await self._compiler.compile(grammar, markers=style.special, begun=begun)


def _may_reason(style: Style, template: str, prompt: str) -> bool:
    """Whether the model may begin to reason: one that has tokens for it or whose template knows the
    marks, where the prompt has not closed them already."""
    marks = style.format.reasoning
    known = marks.close in template or marks.open.encode() in style.special.values()
    return bool(marks.close) and known and not prompt.rstrip().endswith(marks.close)


def _by_spelling(special: Mapping[int, bytes]) -> dict[str, int]:
    return {raw.decode("utf-8", "replace"): token for token, raw in special.items()}
