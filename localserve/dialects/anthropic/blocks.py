"""Content blocks: what messages, system prompts and results of tools are made of.

Images and documents are refused until they are served. Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from localserve.chat import ToolCall
from localserve.dialects.anthropic.refusals import unsupported
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest

_BILLING_HEADER = re.compile(r"\A\s*x-anthropic-billing-header:[^\n]*(\n|\Z)")
"""A line before the system prompt that is another one in every request of Claude Code: with it no
request could go on from the prefix of the one before."""


class Block(WireModel):
    """A block of any type; which fields count depends on the type. `cache_control` is not needed:
    prefixes are kept anyway."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None


Content = str | list[Block]


def texts_of(content: Content, place: str) -> list[str]:
    """The texts of content that can have nothing else. Raises: UnsupportedField."""
    if isinstance(content, str):
        return [content]
    return [text_of(block, f"{place}.{index}") for index, block in enumerate(content)]


def text_of(block: Block, place: str) -> str:
    """Raises: UnsupportedField (no text block), InvalidRequest."""
    if block.type != "text":
        raise unsupported_block(block, place)
    return required(block.text, block, place, "text")


def call_of(block: Block, place: str) -> ToolCall:
    """A `tool_use` block. Raises: InvalidRequest."""
    arguments = required(block.input, block, place, "input")
    return ToolCall(
        required(block.id, block, place, "id"),
        required(block.name, block, place, "name"),
        json.dumps(arguments, ensure_ascii=False),
    )


def result_of(block: Block, place: str) -> str:
    """The text of a `tool_result` block; one that says nothing but that it failed says 'Error'."""
    texts = texts_of(block.content or "", f"{place}.content")
    return "\n".join(texts) or ("Error" if block.is_error else "")


def system_text(content: Content) -> str:
    """A system prompt, without the header that changes in each request."""
    texts = (_BILLING_HEADER.sub("", text) for text in texts_of(content, "system"))
    return "\n".join(text for text in texts if text)


def unsupported_block(block: Block, place: str) -> InvalidRequest:
    """The error for a block that cannot be here, or that nothing here can see."""
    if block.type in ("image", "document"):
        return unsupported(place, f"It is of type {block.type!r}; send what it says as text.")
    return unsupported(place, f"Blocks of type {block.type!r} cannot be here.")


Value = TypeVar("Value")


def required(value: Value | None, block: Block, place: str, field: str) -> Value:
    """The value of a field that blocks of this type have. Raises: InvalidRequest."""
    if value is None:
        raise InvalidRequest(
            f"{place} is of type {block.type!r} and has no `{field}`.", param=f"{place}.{field}"
        )
    return value
