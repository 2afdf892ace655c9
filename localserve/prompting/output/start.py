"""What a prompt says on the assistant's behalf, where the answer goes on. Pure.

Found from the end of the prompt only: before it are words of users and of tools, which may contain
any marker.
"""

from __future__ import annotations

from localserve.chat import Message
from localserve.prompting.output.format import OutputFormat

LONGEST_INTRODUCTION = 200
"""How many characters a template may put behind the mark that opens reasoning."""


def begun_text(format: OutputFormat, prompt: str, prefill: Message | None) -> str:
    """The text from which a parser learns where it is; `prefill` is continued by the answer."""
    if format.addressed is not None:
        return prompt.rpartition(format.header)[2] if format.header in prompt else ""
    reasoning = format.reasoning
    closed = "" if reasoning.open else reasoning.close
    if prefill is not None and prefill.content:
        return closed + prefill.content
    if prefill is not None and prefill.reasoning:
        shown = prompt.endswith(prefill.reasoning)
        return reasoning.open + prefill.reasoning if shown else ""
    tail = prompt.rstrip()
    if reasoning.close and tail.endswith(reasoning.close):
        return closed
    if not reasoning.open or tail.endswith(reasoning.open):
        return reasoning.open
    _, header, behind = tail[-LONGEST_INTRODUCTION:].rpartition(format.header.strip() or "\0")
    opened = header and reasoning.open in behind and reasoning.close not in behind
    return behind.lstrip() if opened else ""
