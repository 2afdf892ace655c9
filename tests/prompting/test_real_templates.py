"""The templates of models that people run, and the prompts that llama.cpp makes with them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from localserve.chat import Message, Tool, ToolCall
from localserve.prompting.moment import tells_day
from localserve.prompting.template import ChatTemplate, RenderRequest

DATA = Path(__file__).parents[3] / "shared" / "data"
TEMPLATES = sorted((DATA / "templates").glob("*.jinja"))
CASES = DATA / "chat_cases.jsonl"
CASES_DAY = date(2026, 11, 23)

pytestmark = pytest.mark.skipif(
    not TEMPLATES or not CASES.exists(), reason="../shared/data with real templates is absent"
)

KNOWN_DIFFERENCES = {
    "tc347": "escapes for HTML, which Jinja does and llama.cpp ignores",
    "tc353": "offers its functions, which llama.cpp leaves out",
}
"""Plain prompts that rightly differ from llama.cpp's."""

SYSTEM = Message("system", "Answer as Zebulon.")
FIRST = Message("user", "Which fjord is deepest?")
REPLY = Message("assistant", "It is Sognefjord.")
SECOND = Message("user", "How many metres?")
CALL = Message(
    "assistant", None, tool_calls=(ToolCall("abcd00001", "depth", '{"fjord": "Sogne"}'),)
)
RESULT = Message("tool", "1303 metres", name="depth", tool_call_id="abcd00001")
FJORD = {"type": "string", "description": "Which one"}
PARAMETERS = {"type": "object", "properties": {"fjord": FJORD}, "required": ["fjord"]}
TOOLS = (Tool("depth", "Looks up a depth", PARAMETERS),)

CONVERSATIONS = {
    "system and user": ((SYSTEM, FIRST), ()),
    "several turns": ((SYSTEM, FIRST, REPLY, SECOND), ()),
    "tools": ((SYSTEM, FIRST), TOOLS),
    "result of a tool": ((SYSTEM, FIRST, CALL, RESULT), TOOLS),
    "system in the middle": ((FIRST, REPLY, SYSTEM, SECOND), ()),
    "two users": ((FIRST, SECOND), ()),
}


@cache
def compiled(path: Path) -> ChatTemplate:
    return ChatTemplate(path.read_text(encoding="utf-8"), bos="<BOS>", eos="<EOS>")


def render(path: Path, messages: tuple[Message, ...], **fields: Any) -> str:
    template = compiled(path)
    return template.render(RenderRequest(template.source, messages, "<BOS>", "<EOS>", **fields))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_real_template_says_once_what_the_user_says(path: Path, name: str) -> None:
    messages, tools = CONVERSATIONS[name]
    prompt = render(path, messages, tools=tools)
    for message in messages:
        if message.role in ("system", "user"):
            assert prompt.count(message.content or "") == 1


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_real_template_whose_prompt_changes_with_the_day_is_known_to(
    path: Path, name: str
) -> None:
    messages, tools = CONVERSATIONS[name]
    days = (CASES_DAY, CASES_DAY + timedelta(days=1))
    prompts = {render(path, messages, tools=tools, day=day) for day in days}
    assert len(prompts) == 1 or tells_day(compiled(path).source)


def from_wire(message: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", [])
    )
    return Message(
        message["role"],
        message["content"],
        tool_calls=calls,
        tool_call_id=message.get("tool_call_id"),
        reasoning=message.get("reasoning_content"),
    )


def prompt_of(case: dict[str, Any]) -> str:
    functions = [tool["function"] for tool in case["tools"] or []]
    source = (DATA / "templates" / case["template"]).read_text(encoding="utf-8")
    request = RenderRequest(
        source,
        tuple(from_wire(message) for message in case["messages"]),
        tools=tuple(Tool(f["name"], f["description"], f["parameters"]) for f in functions),
        options={"enable_thinking": case["enable_thinking"]},
        day=CASES_DAY,
    )
    return compiled_plain(source).render(request)


@cache
def compiled_plain(source: str) -> ChatTemplate:
    return ChatTemplate(source)


def cases() -> list[dict[str, Any]]:
    with CASES.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_prompts_are_those_of_llama_cpp_to_the_byte() -> None:
    plain = [case for case in cases() if case["continue_final_message"] is None]
    different = {case["id"] for case in plain if prompt_of(case) != case["prompt"]}
    assert len(plain) > 300
    assert different == set(KNOWN_DIFFERENCES)


def test_continued_answers_end_with_what_is_continued() -> None:
    """Reasoning is marked in a model's own way in most, where llama.cpp's is one of several."""
    continued = [case for case in cases() if case["continue_final_message"] is not None]
    same = 0
    for case in continued:
        prompt = prompt_of(case)
        assert prompt.endswith(case["messages"][-1]["content"])
        same += prompt == case["prompt"]
    assert same >= 0.75 * len(continued)
