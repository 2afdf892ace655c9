"""From Anthropic's turns to messages: blocks become text, reasoning, calls and results of tools.

Any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
    turn = _Turn()
    for index, message in enumerate(wire):
        place = f"messages.{index}.content"
        if message.role == "assistant":
            turn.take(message.content, place)
            continue
        called.update(call.id for call in turn.calls)
        messages += turn.end()
        turn = _Turn()
        if message.role == "system":
            messages.append(Message("system", "\n".join(texts_of(message.content, place))))
        else:
            messages += _user(message.content, place, called)
    if turn.calls:
        ids = ", ".join(repr(call.id) for call in turn.calls)
        raise InvalidRequest(
            f"The last turn calls tools, and no `tool_result` blocks follow: {ids}.",
            param="messages",
            hint="Add a user's turn with the result of each call.",
        )
    return (*messages, *turn.end())


@dataclass(slots=True)
class _Turn:
    """What the assistant did between two words of others."""

    begun: bool = False
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def take(self, content: Content, place: str) -> None:
        """Raises: UnsupportedField, InvalidRequest."""
        self.begun = True
        if isinstance(content, str):
            self.texts.append(content)
            return
        for index, block in enumerate(content):
            self._take_block(block, f"{place}.{index}")

    def end(self) -> Iterator[Message]:
        """The turn as a message, if there was one."""
        if self.begun:
            text = "".join(self.texts)
            yield Message(
                "assistant",
                text or (None if self.calls else ""),
                tool_calls=tuple(self.calls),
                reasoning="".join(self.reasoning) or None,
            )

    def _take_block(self, block: Block, place: str) -> None:
        match block.type:
            case "text":
                self.texts.append(text_of(block, place))
            case "thinking":
                self.reasoning.append(required(block.thinking, block, place, "thinking"))
            case "redacted_thinking":
                pass  # nobody but who wrote it can read it
            case "tool_use":
                self.calls.append(call_of(block, place))
            case _:
                raise unsupported_block(block, place)


def _user(content: Content, place: str, called: set[str]) -> Iterator[Message]:
    """Texts between results of tools are turns of their own, in the order of the blocks."""
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
    call_id = required(block.tool_use_id, block, place, "tool_use_id")
    if call_id not in called:
        raise InvalidRequest(
            f"{place} is the result of {call_id!r}, but no `tool_use` block before it has that id.",
            param=f"{place}.tool_use_id",
            hint="Send the assistant's turn that called the tool, too.",
        )
    return call_id
