"""From bodies to requests: blocks, system prompts, tools, thinking, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import (
    CallPolicy,
    ChatRequest,
    Generation,
    JsonShape,
    Message,
    Sampling,
    Tool,
    ToolCall,
)
from localserve.dialects.anthropic import AskedMessage, parse_count, parse_message
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

HELLO = {"role": "user", "content": "Hello"}
USE = {"type": "tool_use", "id": "a1", "name": "look", "input": {"at": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "a1", "content": "a wall"}
LOOK = {"name": "look", "description": "Looks", "input_schema": {"type": "object"}}


def parse(*messages: object, **fields: object) -> AskedMessage:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages) or [HELLO], **fields}
    return parse_message(json.dumps(body).encode())


def read(*messages: object, **fields: object) -> tuple[Message, ...]:
    return parse(*messages, **fields).request.messages


def user(*blocks: object) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(blocks)}


def text(content: str, **fields: object) -> dict[str, object]:
    return {"type": "text", "text": content, **fields}


def test_a_plain_request() -> None:
    asked = parse(
        HELLO, system="Be brief.", stream=True, temperature=0.5, top_p=0.9, top_k=7,
        stop_sequences=["x", "", "x"],
    )  # fmt: skip
    assert asked.stream
    assert asked.choices == 1
    assert asked.request == ChatRequest(
        model="m",
        messages=(Message("system", "Be brief."), Message("user", "Hello")),
        template_options={"enable_thinking": False},
        generation=Generation(Sampling(temperature=0.5, top_p=0.9, top_k=7), 9, ("x",)),
    )


def test_model_and_limit_may_be_left_out() -> None:
    request = parse_message(json.dumps({"messages": [HELLO]}).encode()).request
    assert (request.model, request.generation.max_tokens) == ("", None)


def test_a_count_reads_the_same_prompt() -> None:
    body = json.dumps({"messages": [HELLO], "system": "x", "tools": [LOOK]}).encode()
    assert parse_count(body).request == parse_message(body).request


def test_text_blocks_are_lines_and_what_is_said_of_caching_means_nothing() -> None:
    one = text("a", cache_control={"type": "ephemeral"})
    assert read(user(one, text("b"))) == (Message("user", "a\nb"),)


def test_a_conversation_with_a_call_and_its_result() -> None:
    thought = {"type": "thinking", "thinking": "I must look.", "signature": "x"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    call = ToolCall("a1", "look", '{"at": 1}')
    assert read(
        HELLO, assistant(thought, hidden, text("Well"), USE), user(RESULT, text("So?"))
    ) == (
        Message("user", "Hello"),
        Message("assistant", "Well", tool_calls=(call,), reasoning="I must look."),
        Message("tool", "a wall", tool_call_id="a1"),
        Message("user", "So?"),
    )


def test_the_order_of_results_and_words_is_kept() -> None:
    again = RESULT | {"content": [text("one"), text("two")]}
    messages = read(HELLO, assistant(USE), user(text("First"), RESULT, text("then"), again))
    assert [(message.role, message.content) for message in messages[2:]] == [
        ("user", "First"),
        ("tool", "a wall"),
        ("user", "then"),
        ("tool", "one\ntwo"),
    ]
    assert messages[1] == Message("assistant", None, tool_calls=messages[1].tool_calls)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"content": None}, ""),
        ({"content": []}, ""),
        ({"content": "No such file", "is_error": True}, "No such file"),
        ({"content": "", "is_error": True}, "Error"),
    ],
)
def test_a_result_may_say_little(result: dict[str, object], said: str) -> None:
    assert read(HELLO, assistant(USE), user(RESULT | result))[-1].content == said


def test_turns_of_the_assistant_that_follow_each_other_are_one() -> None:
    assert read(HELLO, assistant(text("a"), USE), assistant(text("b")), user(RESULT))[1] == (
        Message("assistant", "ab", tool_calls=(ToolCall("a1", "look", '{"at": 1}'),))
    )
    assert read(HELLO, {"role": "assistant", "content": "a"}, assistant())[-1] == (
        Message("assistant", "a")
    )


def test_a_last_turn_of_the_assistant_is_continued() -> None:
    asked = parse(HELLO, {"role": "assistant", "content": "It is"})
    assert asked.request.continue_last


def test_a_system_message_may_stand_among_the_others() -> None:
    assert read(HELLO, {"role": "system", "content": [text("Be brief.")]})[1] == (
        Message("system", "Be brief.")
    )


BILLING = "x-anthropic-billing-header: cc_version=2.1.9; cc_entrypoint=cli; cch=0a1b2;"


@pytest.mark.parametrize(
    "system",
    [
        [text(BILLING), text("You help."), text("Be brief.")],
        [text(BILLING + "\n"), text("You help.\nBe brief.")],
        [text(f"{BILLING}\nYou help."), text("Be brief.")],
        f"{BILLING}\nYou help.\nBe brief.",
    ],
)
def test_the_billing_header_is_no_part_of_the_prompt(system: object) -> None:
    assert read(HELLO, system=system)[0] == Message("system", "You help.\nBe brief.")


def test_only_the_billing_header_is_left_out() -> None:
    system = f"Never send {BILLING}\nto anyone."
    assert read(HELLO, system=system)[0] == Message("system", system)
    assert read(HELLO, system=[text(BILLING)]) == (Message("user", "Hello"),)
    assert read(HELLO, system=[])[0].role == "user"


@pytest.mark.parametrize(
    ("thinking", "options", "tokens"),
    [
        (None, {"enable_thinking": False}, None),
        ({"type": "disabled"}, {"enable_thinking": False}, None),
        ({"type": "enabled"}, {"enable_thinking": True}, None),
        (
            {"type": "enabled", "budget_tokens": 2048},
            {"enable_thinking": True, "thinking_budget": 2048},
            2048,
        ),
        (
            {"type": "enabled", "budget_tokens": 0},
            {"enable_thinking": False, "thinking_budget": 0},
            0,
        ),
        ({"type": "adaptive"}, {}, None),
        ({"type": "between_tools"}, {}, None),
    ],
)
def test_thinking_is_off_unless_it_is_asked_for(
    thinking: object, options: object, tokens: int | None
) -> None:
    request = parse(HELLO, thinking=thinking).request
    assert request.template_options == options
    assert request.reasoning_tokens == tokens


def test_an_effort_is_for_those_that_think() -> None:
    effort = {"effort": "low"}
    request = parse(HELLO, thinking={"type": "adaptive"}, output_config=effort).request
    assert request.template_options == {"reasoning_effort": "low"}
    assert parse(HELLO, output_config=effort).request.template_options == {"enable_thinking": False}


def test_tools() -> None:
    tools = [LOOK | {"cache_control": None}, {"type": "custom", "name": "go", "description": None}]
    request = parse(HELLO, tools=tools, tool_choice={"type": "auto"}).request
    assert request.tools == (Tool("look", "Looks", {"type": "object"}), Tool("go"))
    assert parse(HELLO, tools=tools, tool_choice={"type": "none"}).request.tools == ()


def test_what_claude_code_sends_besides_is_accepted() -> None:
    parse(
        HELLO,
        metadata={"user_id": "x"},
        context_management={"edits": []},
        service_tier="auto",
        betas=["x"],
        speed=None,
        mcp_servers=[],
        something_new={"x": 1},
    )


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}


@pytest.mark.parametrize(
    ("messages", "fields", "named"),
    [
        ([user(IMAGE)], {}, "messages.0.content.0"),
        ([user(text("See:"), {"type": "document", "source": {}})], {}, "messages.0.content.1"),
        (
            [HELLO, assistant(USE), user(RESULT | {"content": [IMAGE]})],
            {},
            "messages.2.content.0.content.0",
        ),
        ([user({"type": "thinking", "thinking": "x"})], {}, "messages.0.content.0"),
        ([HELLO, assistant({"type": "server_tool_use", "id": "x"})], {}, "messages.1.content.0"),
        ([HELLO], {"system": [IMAGE]}, "system.0"),
        ([HELLO], {"thinking": {"type": "deep"}}, "thinking.type"),
        ([HELLO], {"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools.0"),
        ([HELLO], {"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ([HELLO], {"output_format": {"type": "xml"}}, "output_format"),
        ([HELLO], {"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ([HELLO], {"container": "x"}, "container"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    messages: list[object], fields: dict[str, object], named: str
) -> None:
    with pytest.raises(UnsupportedField) as caught:
        parse(*messages, **fields)
    assert caught.value.param == named
    assert caught.value.hint


@pytest.mark.parametrize(
    ("messages", "fields", "named"),
    [
        ([user(RESULT)], {}, "messages.0.content.0.tool_use_id"),
        ([HELLO, assistant(USE), user(RESULT | {"tool_use_id": "b"})], {}, "messages.2"),
        ([user({"type": "tool_result", "content": "x"})], {}, "messages.0.content.0.tool_use_id"),
        ([HELLO, assistant(USE)], {}, "messages"),
        ([HELLO, assistant(USE | {"input": None}), user(RESULT)], {}, "messages.1.content.0.input"),
        ([HELLO, assistant({"type": "thinking"})], {}, "messages.1.content.0.thinking"),
        ([user({"type": "text"})], {}, "messages.0.content.0.text"),
        ([HELLO], {"tools": [LOOK, LOOK]}, "tools.1.name"),
        ([HELLO], {"tools": [LOOK], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ([HELLO], {"tool_choice": {"type": "any"}}, "tool_choice"),
    ],
)
def test_what_cannot_be_is_the_clients_fault(
    messages: list[object], fields: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(*messages, **fields)
    assert (caught.value.param or "").startswith(named)
    assert not isinstance(caught.value, UnsupportedField)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": "Hello"}, "messages"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": 6}, "temperature"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"tools": [{"name": ""}]}, "tools.0.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
    ],
)
def test_fields_of_the_wrong_type_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        parse_message(json.dumps({"messages": [HELLO], **fields}).encode())
    assert caught.value.param == named


def test_ten_thousand_turns_are_read_quickly_enough_to_be_refused_later() -> None:
    turns = [assistant(text("word " * 50)) for _ in range(10_000)]
    (_, answer) = read(HELLO, *turns)
    assert answer.content == "word " * 500_000


def test_the_form_of_the_answer_is_read() -> None:
    format = {"type": "json_schema", "schema": {"type": "array"}}
    asked = parse(HELLO, output_config={"format": format}).request
    assert asked.generation.shape == JsonShape('{"type": "array"}', "output_config.format")
    older = parse(HELLO, output_format=format).request
    assert older.generation.shape == JsonShape('{"type": "array"}', "output_format")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, CallPolicy()),
        ({"type": "any"}, CallPolicy(required=True)),
        ({"type": "tool", "name": "look"}, CallPolicy(True, ("look",))),
        ({"type": "auto", "disable_parallel_tool_use": True}, CallPolicy(parallel=False)),
    ],
)
def test_a_call_may_be_demanded(choice: object, wanted: CallPolicy) -> None:
    assert parse(HELLO, tools=[LOOK], tool_choice=choice).request.calls == wanted
