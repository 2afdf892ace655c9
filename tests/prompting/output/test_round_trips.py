"""A message that a template renders is what the parser makes of the rendered text."""

from __future__ import annotations

import json
import random

import pytest

from localserve.chat import Message, ToolCall
from localserve.prompting.template import RenderRequest
from tests.prompting.output.collected import parse
from tests.prompting.output.small_templates import (
    BARE,
    KEEPS_IDS,
    KNOWS_NO_REASONING,
    TEMPLATES,
    compiled,
    format_of,
)

STRING = {"type": "string"}
SCHEMA = {
    "type": "object",
    "properties": {
        "path": STRING,
        "text": STRING,
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "force": {"type": "boolean"},
        "names": {"type": "array", "items": STRING},
        "options": {"type": "object"},
    },
}
TOOLS = {"write_file": SCHEMA, "now": {"type": "object", "properties": {}}}

CODE = 'def f(x):\n    """Says <b>it</b> & \'more\'."""\n    return {"a": [x, "\\n"]}\n'
ARGUMENTS: dict[str, dict[str, object]] = {
    "text": {"path": "a b.txt"},
    "code": {"path": "f.py", "text": CODE},
    "numbers": {"path": "x", "count": -12, "ratio": 1.5, "force": True},
    "structures": {"path": "x", "names": ["one", "two"], "options": {"deep": {"er": "yes"}}},
    "other scripts": {"path": "übung/格.txt", "text": "“…” 🦫"},
    "a string that looks like a number": {"path": "42"},
}
SAID = "It is done.\n\nSee  `a < b` [here](x) {or} there."
THOUGHT = "First this,\nthen that."


def turn_text(name: str, message: Message) -> str:
    """What the model would have written for this turn."""
    request = RenderRequest(
        TEMPLATES[name], (Message("user", "Go."), message), add_generation_prompt=False, whole=True
    )
    return compiled(name).render(request).partition(format_of(name).header)[2]


def call(number: int, name: str, arguments: dict[str, object]) -> ToolCall:
    return ToolCall(f"functions.{name}:{number}", name, json.dumps(arguments))


def check(name: str, message: Message) -> None:
    text = turn_text(name, message)
    chance = random.Random(text)
    for cuts in ([], range(1, len(text)), chance.sample(range(1, len(text)), len(text) // 3)):
        got = parse(format_of(name), text, TOOLS, cuts=cuts)
        assert got.content.strip() == (message.content or "").strip()
        assert got.reasoning.strip() == (message.reasoning or "").strip()
        assert got.names == [one.name for one in message.tool_calls]
        for arguments, one in zip(got.arguments, message.tool_calls, strict=True):
            assert json.loads(arguments) == json.loads(one.arguments)
        if name in KEEPS_IDS:
            assert got.ids == [one.id for one in message.tool_calls]


@pytest.fixture(params=TEMPLATES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_content(name: str) -> None:
    check(name, Message("assistant", SAID))


def test_reasoning_before_content(name: str) -> None:
    if name in KNOWS_NO_REASONING:
        pytest.skip("the template renders no reasoning")
    check(name, Message("assistant", SAID, reasoning=THOUGHT))


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_a_call(name: str, kind: str) -> None:
    check(name, Message("assistant", None, tool_calls=(call(0, "write_file", ARGUMENTS[kind]),)))


def test_a_call_without_arguments(name: str) -> None:
    check(name, Message("assistant", None, tool_calls=(call(0, "now", {}),)))


def test_parallel_calls(name: str) -> None:
    calls = (
        call(0, "write_file", ARGUMENTS["code"]),
        call(1, "now", {}),
        call(2, "write_file", ARGUMENTS["text"]),
    )
    check(name, Message("assistant", None, tool_calls=calls))


def test_reasoning_before_a_call(name: str) -> None:
    if name in KNOWS_NO_REASONING:
        pytest.skip("the template renders no reasoning")
    calls = (call(0, "write_file", ARGUMENTS["numbers"]),)
    check(name, Message("assistant", None, tool_calls=calls, reasoning=THOUGHT))


def test_content_before_a_call(name: str) -> None:
    if name in BARE:
        pytest.skip("a call without markers is one only where an answer begins")
    calls = (call(0, "write_file", ARGUMENTS["text"]),)
    check(name, Message("assistant", "I write it.", tool_calls=calls))
