"""Tools told in words to templates that know none."""

from __future__ import annotations

import json

from localserve.chat import Message, Tool, ToolCall
from localserve.prompting.output.families import HERMES, mentioned_calls
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.template import CHATML, ChatTemplate, RenderRequest
from localserve.prompting.tool_words import tools_in_words
from tests.prompting.output.collected import parse

USER = Message("user", "Where?")
LOOK = Tool("look", "Looks", {"type": "object", "properties": {"at": {"type": "string"}}})
CALLS = Message(
    "assistant",
    "I look.",
    tool_calls=(ToolCall("a1", "look", '{"at": "it"}'), ToolCall("a2", "look", "{}")),
)
RESULTS = (Message("tool", "here", tool_call_id="a1"), Message("tool", "there", tool_call_id="a2"))


def test_the_system_tells_of_the_tools() -> None:
    told, asked = tools_in_words((USER,), (LOOK,))
    assert told.role == "system"
    line = next(line for line in (told.content or "").splitlines() if line.startswith('{"type"'))
    assert json.loads(line)["function"]["name"] == "look"
    assert asked == USER


def test_what_the_system_says_stays_in_front() -> None:
    told, _ = tools_in_words((Message("system", "Be brief."), USER), (LOOK,))
    assert (told.content or "").startswith("Be brief.\n\nYou may call")


def test_calls_and_results_become_text() -> None:
    _, said, results = tools_in_words((USER, CALLS, *RESULTS), ())
    assert said.tool_calls == ()
    assert (results.role, results.name) == ("user", None)
    assert results.content == (
        "<tool_response>\nhere\n</tool_response>\n<tool_response>\nthere\n</tool_response>"
    )
    again = parse(OutputFormat(calls=HERMES), said.content or "", {"look": None})
    assert (again.content, again.names) == ("I look.", ["look", "look"])
    assert again.arguments == ['{"at": "it"}', "{}"]


def test_a_template_without_tools_gets_them_in_words() -> None:
    request = RenderRequest(CHATML, (USER, CALLS, *RESULTS), tools=(LOOK,))
    prompt = ChatTemplate(CHATML).render(request)
    assert prompt.startswith("<|im_start|>system\nYou may call these tools:\n<tools>\n{")
    assert '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>' in prompt
    assert "<tool_response>\nhere\n</tool_response>" in prompt
    assert mentioned_calls(CHATML) == HERMES


def test_a_template_that_knows_tools_gets_them_as_they_are() -> None:
    source = "{{ tools | length }}{% for m in messages %}[{{ m.role }}]{% endfor %}"
    request = RenderRequest(source, (USER, *RESULTS), tools=(LOOK,))
    assert ChatTemplate(source).render(request) == "1[user][tool][tool]"


def test_without_tools_nothing_is_told() -> None:
    assert "tools" not in ChatTemplate(CHATML).render(RenderRequest(CHATML, (USER,)))
