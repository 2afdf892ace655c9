"""What the many fields about reasoning come to: options of the template, and a budget.

Clients and servers have given these switches different names; all common ones are understood.
Knows nothing of templates. Any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from localserve.dialects.schema import WireModel

Effort = Annotated[str, Field(max_length=32)]
Budget = Annotated[int, Field(ge=-1, le=(1 << 31) - 1)]
"""Tokens for reasoning; -1 is no limit, 0 no reasoning."""


class Reasoning(WireModel):
    effort: Effort | None = None
    max_tokens: Budget | None = None


class ThinkingFields(WireModel):
    """Fields of a chat body. `thinking` is Anthropic's form, `reasoning` that of the responses API.

    With `reasoning_format` "none" reasoning stays in the content.
    """

    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    reasoning_format: Effort | None = None
    thinking: Any = None
    thinking_budget: Budget | None = None
    thinking_budget_tokens: Budget | None = None

    @property
    def reasoning_apart(self) -> bool:
        return self.reasoning_format != "none"

    def reasoning_tokens(self) -> int | None:
        """The budget: the smallest that is given."""
        given = [self.thinking_budget, self.thinking_budget_tokens]
        if self.reasoning is not None:
            given.append(self.reasoning.max_tokens)
        given.append(_budget(self.thinking, "budget_tokens"))
        given.append(_budget(self.chat_template_kwargs, "thinking_budget"))
        return min((tokens for tokens in given if tokens is not None and tokens >= 0), default=None)

    def template_options(self) -> dict[str, object]:
        """What the template may read. `chat_template_kwargs` go before the other fields.

        An effort of "none" and a budget of 0 switch thinking off.
        """
        options: dict[str, object] = {}
        effort = self.reasoning_effort or (self.reasoning.effort if self.reasoning else None)
        budget = self.reasoning_tokens()
        if budget is not None:
            options["thinking_budget"] = budget
        if effort is not None:
            options["reasoning_effort"] = effort
        if effort == "none" or budget == 0:
            options["enable_thinking"] = False
        if isinstance(self.thinking, dict) and self.thinking.get("type") in _SWITCHES:
            options["enable_thinking"] = self.thinking["type"] == "enabled"
        if self.enable_thinking is not None:
            options["enable_thinking"] = self.enable_thinking
        return options | (self.chat_template_kwargs or {})


_SWITCHES = ("enabled", "disabled")


def _budget(value: object, key: str) -> int | None:
    tokens = value.get(key) if isinstance(value, Mapping) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
