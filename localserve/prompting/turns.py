"""Messages as a template sees them, and the changes that make a picky template accept them.

Pure; any thread; knows nothing of Jinja. Every change gives new messages and keeps all their text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from localserve.chat import Message, Tool, ToolCall

Variables = dict[str, object]
"""JSON-like values under names, as a template reads them."""

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""The names under which templates look for an assistant's reasoning."""


_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")


class Arguments(dict[str, object]):
    """The arguments of a call, which a template that prints them as they are gets as JSON."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


def message_variables(
    message: Message,
    *,
    reasoning_keys: tuple[str, ...] = REASONING_KEYS[:1],
    content_as_parts: bool = False,
    arguments_as_text: bool = False,
) -> Variables:
    """One message in OpenAI's shape; keys without a value are left out, missing content is ''."""
    content: object = message.content or ""
    if content_as_parts:
        content = [{"type": "text", "text": content}] if content else []
    variables: Variables = {"role": message.role, "content": content}
    if message.name is not None:
        variables["name"] = message.name
    if message.tool_calls:
        calls = [_call_variables(call, arguments_as_text) for call in message.tool_calls]
        variables["tool_calls"] = calls
    if message.tool_call_id is not None:
        variables["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        variables.update(dict.fromkeys(reasoning_keys, message.reasoning))
    return variables


def tool_variables(tool: Tool) -> Variables:
    """One tool in OpenAI's shape, always with a description and parameters."""
    parameters: Mapping[str, object] = {"type": "object", "properties": {}}
    function = {
        "name": tool.name,
        "description": tool.description or "",
        "parameters": parameters if tool.parameters is None else tool.parameters,
    }
    return {"type": "function", "function": function}


def accepted_forms(messages: tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """The messages as they are, then ever further changed for templates that refuse them."""
    joined = _join_same_roles(_gather_system(_thin_reasoning(messages)))
    forms = [messages, _thin_reasoning(messages), joined, _fold_system(joined)]
    forms += map(_shorten_ids, tuple(forms))
    for place, form in enumerate(forms):
        if form not in forms[:place]:
            yield form


def _call_variables(call: ToolCall, arguments_as_text: bool) -> Variables:
    arguments: object = call.arguments if arguments_as_text else _parse_arguments(call.arguments)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _parse_arguments(text: str) -> object:
    if not text.strip():
        return Arguments()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return Arguments(value) if isinstance(value, dict) else value


def _shorten_ids(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """With ids of calls as the pickiest templates want them: nine letters and digits."""
    return tuple(
        replace(
            message,
            tool_calls=tuple(replace(call, id=_short_id(call.id)) for call in message.tool_calls),
            tool_call_id=message.tool_call_id and _short_id(message.tool_call_id),
        )
        for message in messages
    )


def _short_id(call_id: str) -> str:
    """The same for the same id; as it is where it has the form already."""
    if _SHORT_ID.fullmatch(call_id):
        return call_id
    return hashlib.blake2b(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _thin_reasoning(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the reasoning of turns that also have both text and calls: some templates refuse
    the three together."""
    return tuple(
        replace(message, reasoning=None) if message.content and message.tool_calls else message
        for message in messages
    )


def _gather_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """All system messages as one, in front."""
    texts = [message.content for message in messages if message.role == "system"]
    if not texts:
        return messages
    others = tuple(message for message in messages if message.role != "system")
    return (Message("system", "\n\n".join(filter(None, texts))), *others)


def _fold_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """A leading system message put in front of the first user's text."""
    if not messages or messages[0].role != "system":
        return messages
    system, *others = messages
    for place, message in enumerate(others):
        if message.role == "user":
            others[place] = replace(message, content=_join(system.content, message.content))
            return tuple(others)
    return (replace(system, role="user"), *others)


def _join_same_roles(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Neighbours of one role as one message; results of tools stay apart."""
    joined: list[Message] = []
    for message in messages:
        if not joined or joined[-1].role != message.role or message.role == "tool":
            joined.append(message)
            continue
        last = joined[-1]
        joined[-1] = replace(
            last,
            content=_join(last.content, message.content) or None,
            tool_calls=last.tool_calls + message.tool_calls,
            reasoning=_join(last.reasoning, message.reasoning) or None,
        )
    return tuple(joined)


def _join(first: str | None, second: str | None) -> str:
    return "\n\n".join(filter(None, (first, second)))
