"""What follows a prompt when the conversation ends with words of the assistant to be continued.

Pure; any thread. Knows the marks that models put around their reasoning.
"""

from __future__ import annotations

from localserve.chat import Message
from localserve.errors import InvalidRequest

THINKING_MARKS = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
)
"""What opens and what closes reasoning, by family of models."""

_ANALYSIS_CHANNEL = "<|channel|>analysis<|message|>"
_FINAL_CHANNEL = "<|channel|>final<|message|>"


def split_prefill(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], Message | None]:
    """The messages before the assistant's words that are to be continued, and these words.

    Raises: InvalidRequest, when they cannot be continued.
    """
    if not messages or messages[-1].role != "assistant":
        return messages, None
    if messages[-1].tool_calls:
        raise InvalidRequest(
            "The last message is an assistant's with tool calls, which cannot be continued.",
            param="messages",
            hint="Add a message of role 'tool' with the result of each call.",
        )
    if len(messages) > 1 and messages[-2].role == "assistant":
        raise InvalidRequest(
            "The last two messages are both the assistant's; only one can be continued.",
            param="messages",
            hint="Join them into one message.",
        )
    return messages[:-1], messages[-1]


def prefill_text(message: Message, prompt: str, template: str) -> str:
    """What to append to `prompt`, which ends where the assistant begins.

    Reasoning without content is continued as reasoning. Content closes the reasoning first where
    the prompt has opened it. Reasoning is left out for a `template` that knows no marks for it,
    as templates themselves do with the reasoning of earlier turns.
    """
    content, reasoning = message.content or "", message.reasoning or ""
    if not content and not reasoning:
        return ""
    tail = prompt.rstrip()
    if _FINAL_CHANNEL in template:
        return _continue_channels(content, reasoning)
    for opening, closing in THINKING_MARKS:
        if tail.endswith(opening):
            return _continue_opened(content, reasoning, closing, prompt[len(tail) :])
    if not reasoning or tail.endswith(tuple(closing for _, closing in THINKING_MARKS)):
        return content
    for opening, closing in THINKING_MARKS:
        if opening in template and closing in template:
            on_own_line = opening + "\\n" in template or opening + "\n" in template
            gap = "\n" if on_own_line else ""
            return opening + gap + _continue_opened(content, reasoning, closing, gap)
    return content


def _continue_opened(content: str, reasoning: str, closing: str, gap: str) -> str:
    if not content:
        return reasoning
    if gap and closing.startswith("</"):
        return f"{reasoning}\n{closing}\n\n{content}"
    return f"{reasoning}{closing}{content}"


def _continue_channels(content: str, reasoning: str) -> str:
    """For the family that names a channel before each piece of an answer."""
    text = _ANALYSIS_CHANNEL + reasoning if reasoning else ""
    if reasoning and content:
        text += "<|end|><|start|>assistant"
    return text + _FINAL_CHANNEL + content if content else text
