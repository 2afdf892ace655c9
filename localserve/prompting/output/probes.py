"""The conversations that a template renders so that its model's format shows. Pure.

All are rendered ahead, so that this happens where untrusted templates run, and compared elsewhere.
The words in them are found again in the rendered text, so none is part of another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from localserve.chat import Message, Tool, ToolCall
from localserve.prompting.template import RenderRequest

USER = "uquestion"
SAID = "qsentence"
THOUGHT = "qreflection"
NAMES = ("qfindstone", "qopendoor")
KEYS = ("qkeyfirst", "qkeysecond")
TEXT_VALUE = "qvaluetext"
NUMBER_VALUE = 48151623
IDS = ("a1b2c3d4e", "f5g6h7i8k")
NAME_IN_ID = f"functions.{NAMES[0]}:0"

Rendered = Mapping[str, str]
"""Texts by probe; those that the template refused are missing."""

_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        KEYS[0]: {"type": "string", "description": "qmeaning"},
        KEYS[1]: {"type": "integer", "description": "qmeaning"},
    },
    "required": [KEYS[0]],
}
_TOOLS = tuple(Tool(name, "qpurpose", _SCHEMA) for name in NAMES)
_QUESTION = Message("user", USER)


def probes(template: str, *, bos: str = "", eos: str = "") -> dict[str, RenderRequest]:
    """What to render, by name."""
    one = _call(0, {KEYS[0]: TEXT_VALUE})
    two = _call(1, {KEYS[0]: TEXT_VALUE})
    both = _call(0, {KEYS[0]: TEXT_VALUE, KEYS[1]: NUMBER_VALUE})
    plain = RenderRequest(template, (_QUESTION,), bos, eos, add_generation_prompt=False)
    tooled = replace(plain, tools=_TOOLS)
    opened = replace(plain, add_generation_prompt=True)

    def turn(**fields: object) -> RenderRequest:
        message = Message("assistant", **{"content": None, **fields})  # type: ignore[arg-type]
        return replace(tooled, messages=(_QUESTION, message), whole=True)

    return {
        "asked": plain,
        "asked_tooled": tooled,
        "opened": opened,
        "opened_thinking": replace(opened, options={"enable_thinking": True}),
        "opened_direct": replace(opened, options={"enable_thinking": False}),
        "said": turn(content=SAID),
        "thought": turn(content=SAID, reasoning=THOUGHT),
        "thought_call": turn(reasoning=THOUGHT, tool_calls=(one,)),
        "call": turn(tool_calls=(one,)),
        "call_two_arguments": turn(tool_calls=(both,)),
        "two_calls": turn(tool_calls=(one, two)),
        "call_name_in_id": turn(tool_calls=(replace(one, id=NAME_IN_ID),)),
    }


def _call(number: int, arguments: Mapping[str, object]) -> ToolCall:
    return ToolCall(IDS[number], NAMES[number], json.dumps(arguments))
