"""What a request demands of its answer, for a model that writes calls between tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localserve.backends.conversation import Style
from localserve.backends.demands import Demands
from localserve.chat import (
    CallPolicy,
    ChatRequest,
    Generation,
    JsonShape,
    Message,
    RegexShape,
    Tool,
)
from localserve.engine.constraint import MakeConstraint
from localserve.errors import GrammarInvalid
from localserve.prompting.output.families import HERMES
from localserve.prompting.output.format import OutputFormat
from tests.prompting.grammar.byte_table import ByteTable, follows

TABLE = ByteTable("<think>", "</think>", "<tool_call>", "</tool_call>")
STYLE = Style(
    OutputFormat(calls=HERMES),
    {token: text.encode() for text, token in TABLE.special.items()},
)
PROMPT = "<|im_start|>assistant\n"
OBJECT = JsonShape('{"type": "object"}')
LOOK: dict[str, Any] = {
    "type": "object",
    "properties": {"at": {"type": "array", "uniqueItems": True}},
}
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": [1]}}\n</tool_call>'
REQUIRED = CallPolicy(required=True)


@pytest.fixture
def demands() -> Iterator[Demands]:
    made = Demands(TABLE)
    yield made
    made.close()


async def demanded(
    demands: Demands,
    *,
    prompt: str = PROMPT,
    reasoning: bool = False,
    begun: str = "",
    style: Style = STYLE,
    **fields: Any,
) -> MakeConstraint | None:
    messages = [Message("user", "Go.")] + ([Message("assistant", begun)] if begun else [])
    request = ChatRequest("m", tuple(messages), **fields)
    return await demands.of_chat(request, style, "template", prompt, reasoning=reasoning)


def shaped(shape: JsonShape | RegexShape = OBJECT) -> Generation:
    return Generation(shape=shape)


def accepts(make: MakeConstraint | None, text: str) -> bool:
    assert make is not None
    return follows(make(), TABLE.tokens(text))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": (Tool("look", None, LOOK),)},
        {"tools": (Tool("look", None, LOOK),), "calls": CallPolicy(parallel=False)},
        {"calls": REQUIRED},
    ],
    ids=["nothing", "tools", "no parallel calls", "a call without tools"],
)
async def test_nothing_is_demanded_of_free_answers(
    fields: dict[str, Any], demands: Demands
) -> None:
    assert await demanded(demands, **fields) is None


async def test_a_tool_that_is_not_strict_is_called_although_its_schema_cannot_be_enforced(
    demands: Demands,
) -> None:
    make = await demanded(demands, tools=(Tool("look", None, LOOK),), calls=REQUIRED)
    assert accepts(make, CALL)
    assert not accepts(make, CALL.replace("look", "hear"))


async def test_a_strict_tool_whose_schema_cannot_be_enforced_is_refused_by_name(
    demands: Demands,
) -> None:
    tools = (Tool("look", None, LOOK, strict=True), Tool("go"))
    with pytest.raises(GrammarInvalid, match="uniqueItems") as caught:
        await demanded(demands, tools=tools, calls=REQUIRED)
    assert caught.value.param == "tools"


async def test_what_a_schema_asks_for_in_vain_is_not_blamed_on_the_tools(demands: Demands) -> None:
    wrong = JsonShape('{"not": {}}', "guided_json")
    with pytest.raises(GrammarInvalid, match="not") as caught:
        await demanded(demands, tools=(Tool("look", None, LOOK),), generation=shaped(wrong))
    assert caught.value.param == "guided_json"


async def test_a_model_with_marks_for_it_may_reason_first(demands: Demands) -> None:
    make = await demanded(demands, generation=shaped())
    assert accepts(make, "{}")
    assert accepts(make, "<think>Let me see: {}</think>\n\n{}")
    assert not accepts(make, "<think>Let me see: {}")


async def test_reasoning_that_the_prompt_began_goes_on(demands: Demands) -> None:
    make = await demanded(demands, prompt=PROMPT + "<think>\n", reasoning=True, generation=shaped())
    assert accepts(make, "So.</think>{}")
    assert not accepts(make, "{}")


async def test_reasoning_that_the_prompt_closed_does_not_begin_again(demands: Demands) -> None:
    make = await demanded(demands, prompt=PROMPT + "<think>\n\n</think>\n\n", generation=shaped())
    assert accepts(make, "{}")
    assert not accepts(make, "<think>So.</think>{}")


async def test_a_model_without_marks_for_it_does_not_reason(demands: Demands) -> None:
    plain = Style(OutputFormat(calls=HERMES), {})
    make = await demanded(demands, style=plain, generation=shaped())
    assert not accepts(make, "<think>So.</think>{}")


async def test_words_that_were_begun_are_continued(demands: Demands) -> None:
    make = await demanded(demands, begun='{"a": ', generation=shaped())
    assert accepts(make, "1}")
    assert not accepts(make, '{"a": 1}')


async def test_a_text_without_turns_has_a_shape_and_no_reasoning(demands: Demands) -> None:
    make = await demands.of_completion(RegexShape("[ab]+"), STYLE)
    assert accepts(make, "abba")
    assert not accepts(make, "<think>So.</think>abba")
