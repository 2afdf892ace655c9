"""From Anthropic's turns to messages: blocks become text, reasoning, calls and results of tools.

Any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from localserve.chat import Message, ToolCall
from localserve.dialects.anthropic.blocks import (
    Block,
    Content,
    call_of,
    required,
    result_of,
    text_of,
    texts_of,
    unsupported_block,
)
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


class WireMessage(WireModel):
    role: Literal["user", "assistant", "system"]
    content: Content


def read_turns(wire: list[WireMessage]) -> tuple[Message, ...]:
    """The conversation. Turns of the assistant that follow each other are one, as they are there.

    Raises: UnsupportedField; InvalidRequest (results without calls, calls without results).
    """
    messages: list[Message] = []
    called: set[str] = set()
    for index, turn in enumerate(wire):
        place = f"messages.{index}.content"
        if turn.role == "assistant":
            message = _assistant(turn.content, place)
            called.update(call.id for call in message.tool_calls)
            if messages and messages[-1].role == "assistant":
                message = _joined(messages.pop(), message)
            messages.append(message)
        elif turn.role == "system":
            messages.append(Message("system", "\n".join(texts_of(turn.content, place))))
        else:
            messages += _user(turn.content, place, called)
    _check_end(messages)
    return tuple(messages)


def _user(content: Content, place: str, called: set[str]) -> Iterator[Message]:
    """Texts in between results of tools are turns of their own, in the order of the blocks."""
    texts: list[str] = []
    blocks = [Block(type="text", text=content)] if isinstance(content, str) else content
    for index, block in enumerate(blocks):
        here = f"{place}.{index}"
        if block.type != "tool_result":
            texts.append(text_of(block, here))
            continue
        if texts:
            yield Message("user", "\n".join(texts))
            texts = []
        yield Message("tool", result_of(block, here), tool_call_id=_called_id(block, here, called))
    if texts or not blocks:
        yield Message("user", "\n".join(texts))


def _called_id(block: Block, place: str, called: set[str]) -> str:
    call_id: str = required(block.tool_use_id, block, place, "tool_use_id")
    if call_id not in called:
        raise InvalidRequest(
            f"{place} is the result of {call_id!r}, but no `tool_use` block before it has that id.",
            param=f"{place}.tool_use_id",
            hint="Send the assistant's turn that called the tool, too.",
        )
    return call_id


def _assistant(content: Content, place: str) -> Message:
    if isinstance(content, str):
        return Message("assistant", content)
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    for index, block in enumerate(content):
        here = f"{place}.{index}"
        match block.type:
            case "text":
                texts.append(text_of(block, here))
            case "thinking":
                reasoning.append(required(block.thinking, block, here, "thinking"))
            case "redacted_thinking":
                pass  # nobody but who wrote it can read it
            case "tool_use":
                calls.append(call_of(block, here))
            case _:
                raise unsupported_block(block, here)
    text = "".join(texts)
    return Message(
        "assistant",
        text or (None if calls else ""),
        tool_calls=tuple(calls),
        reasoning="".join(reasoning) or None,
    )


def _joined(first: Message, second: Message) -> Message:
    calls = first.tool_calls + second.tool_calls
    text = (first.content or "") + (second.content or "")
    return Message(
        "assistant",
        text or (None if calls else ""),
        tool_calls=calls,
        reasoning=(first.reasoning or "") + (second.reasoning or "") or None,
    )


def _check_end(messages: list[Message]) -> None:
    """An answer that ends with calls cannot be continued."""
    if messages and messages[-1].role == "assistant" and messages[-1].tool_calls:
        ids = ", ".join(call.id for call in messages[-1].tool_calls)
        raise InvalidRequest(
            f"The last turn calls tools, and no `tool_result` blocks follow: {ids}.",
            param="messages",
            hint="Add a user's turn with the result of each call.",
        )
