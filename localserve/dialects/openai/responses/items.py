"""What a conversation of the responses API is made of: items, read from the wire and kept by value.

An item is what was said, thought, called or answered by a tool. Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, assert_never

from localserve.chat import Message, Role, ToolCall
from localserve.dialects.openai.refusals import unsupported
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Said:
    """A message. Items that no response gave out may have the id ""."""

    id: str
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning of the assistant before what follows."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a function; results name it by the id of `call`, not by that of the item."""

    id: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Result:
    """What a called function answered."""

    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for an item of an earlier response."""

    id: str


OwnItem = Said | Thought | Called
"""What a response gives out, under an id."""

Item = OwnItem | Result


class Part(WireModel):
    type: str = "input_text"
    text: str | None = None
    refusal: str | None = None


Parts = str | list[Part]

WireRole = Literal["user", "assistant", "system", "developer"]


class WireItem(WireModel):
    """An item of any type; which fields count depends on the type."""

    type: str | None = None
    id: str | None = None
    role: WireRole | None = None
    content: Parts | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: Parts | None = None
    summary: list[Part] | None = None


def read_items(wire: str | list[WireItem]) -> tuple[Item | Reference, ...]:
    """The input of a request; a text is what the user said.

    Raises: InvalidRequest, UnsupportedField.
    """
    if isinstance(wire, str):
        return (Said("", "user", wire),)
    return tuple(_read(item, f"input.{index}") for index, item in enumerate(wire))


def resolve(
    given: Iterable[Item | Reference], find: Callable[[str], Item | None]
) -> Iterator[Item]:
    """The items with what they refer to. Raises: InvalidRequest."""
    for item in given:
        if not isinstance(item, Reference):
            yield item
            continue
        found = find(item.id)
        if found is None:
            raise InvalidRequest(
                f"The item {item.id!r} is not kept here (any more).",
                param="input",
                hint="Send the item itself.",
            )
        yield found


def messages_of(items: Sequence[Item]) -> tuple[Message, ...]:
    """The conversation. What the assistant thought, said and called without a break is one turn.

    Raises: InvalidRequest (a result without its call, a call at the end).
    """
    messages: list[Message] = []
    turn = _Turn()
    called: set[str] = set()
    for item in items:
        if isinstance(item, Called):
            called.add(item.call.id)
        if turn.take(item):
            continue
        messages += turn.end()
        turn = _Turn()
        match item:
            case Said():
                messages.append(Message(item.role, item.text))
            case Result():
                _check_called(item, called)
                messages.append(Message("tool", item.text, tool_call_id=item.call_id))
    if turn.calls:
        raise InvalidRequest(
            f"The call {turn.calls[-1].id!r} at the end of the input has no function_call_output.",
            param="input",
            hint="Add an item with the output of each call.",
        )
    return (*messages, *turn.end())


def size_of(item: Item) -> int:
    """About how many bytes it takes."""
    match item:
        case Said() | Thought():
            text = item.text
        case Called():
            text = item.call.arguments
        case Result():
            text = item.text
        case _ as never:
            assert_never(never)
    return 200 + 4 * len(text)


@dataclass(slots=True)
class _Turn:
    """What the assistant did between two words of others."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def take(self, item: Item) -> bool:
        """Whether it belongs to the assistant's turn."""
        match item:
            case Said() if item.role == "assistant":
                self.texts.append(item.text)
            case Thought():
                self.thoughts.append(item.text)
            case Called():
                self.calls.append(item.call)
            case _:
                return False
        return True

    def end(self) -> Iterator[Message]:
        """The turn as a message, if there was one."""
        if self.texts or self.thoughts or self.calls:
            text = "\n\n".join(filter(None, self.texts))
            yield Message(
                "assistant",
                text or (None if self.calls else ""),
                tool_calls=tuple(self.calls),
                reasoning="\n\n".join(filter(None, self.thoughts)) or None,
            )


def _check_called(result: Result, called: set[str]) -> None:
    if result.call_id not in called:
        raise InvalidRequest(
            f"There is no function_call {result.call_id!r} before its function_call_output.",
            param="input",
            hint="Send the call, too, or previous_response_id.",
        )


def _read(wire: WireItem, place: str) -> Item | Reference:
    kind = wire.type or ("message" if wire.role else "item_reference")
    match kind:
        case "message":
            role: WireRole = _needed(wire.role, place, kind, "role")
            text = _text(
                wire.content, f"{place}.content", joined_by="" if role == "assistant" else "\n"
            )
            return Said(wire.id or "", "system" if role == "developer" else role, text)
        case "reasoning":
            parts = wire.content or wire.summary or ""
            return Thought(wire.id or "", _text(parts, place, joined_by="\n\n"))
        case "function_call":
            call = ToolCall(
                _needed(wire.call_id, place, kind, "call_id"),
                _needed(wire.name, place, kind, "name"),
                wire.arguments or "{}",
            )
            return Called(wire.id or "", call)
        case "function_call_output":
            text = _text(wire.output, f"{place}.output", joined_by="\n")
            return Result(_needed(wire.call_id, place, kind, "call_id"), text)
        case "item_reference":
            return Reference(_needed(wire.id, place, kind, "id"))
        case _:
            raise unsupported(place, f"It is a {kind!r} item: leave it out.")


def _text(parts: Parts | None, place: str, *, joined_by: str) -> str:
    if parts is None:
        raise InvalidRequest(f"{place} is missing.", param=place, hint="Send a text, or parts.")
    if isinstance(parts, str):
        return parts
    return joined_by.join(_part_text(part, f"{place}.{i}") for i, part in enumerate(parts))


_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal")


def _part_text(part: Part, place: str) -> str:
    if part.type not in _TEXTS:
        raise unsupported(place, f"It is of type {part.type!r}; only text is supported.")
    return _needed(part.refusal if part.type == "refusal" else part.text, place, part.type, "text")


Value = TypeVar("Value")


def _needed(value: Value | None, place: str, kind: str, field: str) -> Value:
    if value is None:
        raise InvalidRequest(f"{place} ({kind}) has no `{field}`.", param=f"{place}.{field}")
    return value
