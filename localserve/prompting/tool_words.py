"""Tools, calls and their results in words, for templates that know nothing of them. Pure.

The form is the commonest one, which also the parser expects of a model whose template shows none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from localserve.chat import Message, Tool, ToolCall
from localserve.prompting.environment import render_json
from localserve.prompting.turns import tool_variables

INSTRUCTIONS = """\
You may call these tools:
<tools>
{tools}
</tools>
To call one, write:
<tool_call>
{{"name": ..., "arguments": {{...}}}}
</tool_call>"""


def tools_in_words(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> tuple[Message, ...]:
    """The messages without calls and results, which are told as text, as are the tools.

    Results that follow one another become one message of the user.
    """
    told: list[Message] = []
    for message in messages:
        after_result = told and told[-1].name == _RESULTS
        if message.role == "tool":
            text = f"<tool_response>\n{message.content or ''}\n</tool_response>"
            if after_result:
                told[-1] = replace(told[-1], content=f"{told[-1].content}\n{text}")
            else:
                told.append(Message("user", text, name=_RESULTS))
        else:
            told.append(_without_calls(message))
    plain = [replace(one, name=None) if one.name == _RESULTS else one for one in told]
    return _with_instructions(plain, tools) if tools else tuple(plain)


_RESULTS = "\0results"
"""Marks messages that were made here, until all are."""


def _without_calls(message: Message) -> Message:
    if not message.tool_calls:
        return message
    parts = filter(None, (message.content, *map(_call_text, message.tool_calls)))
    return replace(message, content="\n".join(parts), tool_calls=())


def _call_text(call: ToolCall) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {call.arguments}}}\n</tool_call>'


def _with_instructions(messages: list[Message], tools: Iterable[Tool]) -> tuple[Message, ...]:
    """Told by the system, behind what it says first."""
    lines = "\n".join(render_json(tool_variables(tool)) for tool in tools)
    text = INSTRUCTIONS.format(tools=lines)
    if messages and messages[0].role == "system":
        said = messages[0].content
        content = f"{said}\n\n{text}" if said else text
        return (replace(messages[0], content=content), *messages[1:])
    return (Message("system", text), *messages)
