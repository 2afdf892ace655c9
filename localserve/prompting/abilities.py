"""What a chat template shows that its model was trained to do. Pure; any thread; renders nothing.

A model whose template shows no tools can be told of them in words all the same; it is not said to
have the ability.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from localserve.prompting.prefill import THINKING_MARKS

Ability = Literal["tools", "thinking"]

_TOOLS: Final = re.compile(r"\b(tools|functions|tool_calls)\b")
_THOUGHTS: Final = re.compile(
    r"\b(reasoning_content|enable_thinking|reasoning_effort|thinking_effort)\b"
)
_ANALYSIS: Final = "<|channel|>analysis"


def abilities(template: str | None) -> tuple[Ability, ...]:
    """By the names that a template uses, and the marks that it puts around reasoning."""
    if not template:
        return ()
    found: list[Ability] = []
    if _TOOLS.search(template):
        found.append("tools")
    marked = _ANALYSIS in template or any(close in template for _, close in THINKING_MARKS)
    if marked or _THOUGHTS.search(template):
        found.append("thinking")
    return tuple(found)
