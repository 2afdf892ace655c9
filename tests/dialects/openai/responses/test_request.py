"""From bodies to requests: items, functions, what a response continues, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from localserve.dialects.openai.responses import AskedResponse, Item, parse_response
from localserve.dialects.openai.responses.items import Called, Result, Said, Thought
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

LOOK = {
    "type": "function",
    "name": "look",
    "description": "Looks",
    "parameters": {"type": "object"},
}
CALL = {"type": "function_call", "call_id": "a1", "name": "look", "arguments": '{"at": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "a1", "output": "a wall"}
KEPT: dict[str, Item] = {"msg_1": Said("msg_1", "assistant", "Kept")}


def parse(given: object = "Hello", **fields: object) -> AskedResponse:
    return parse_response(json.dumps({"input": given, **fields}).encode())


def read(
    given: object = "Hello", history: Sequence[Item] = (), **fields: object
) -> tuple[Message, ...]:
    asked = parse(given, **fields).after(history, KEPT.get, scope="mine")
    assert asked.request.scope == "mine"
    return asked.request.messages


def item(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


def test_a_plain_request() -> None:
    asked = parse(
        model="m", instructions="Be brief.", stream=True, temperature=0.5, top_p=0.9,
        max_output_tokens=9,
    ).after((), KEPT.get, scope="")  # fmt: skip
    assert (asked.stream, asked.store, asked.choices) == (True, True, 1)
    assert asked.request == ChatRequest(
        model="m",
        messages=(Message("system", "Be brief."), Message("user", "Hello")),
        generation=Generation(Sampling(temperature=0.5, top_p=0.9), max_tokens=9),
        continue_last=False,
    )
    assert asked.items == (Said("", "user", "Hello"),)


@pytest.mark.parametrize(("limit", "tokens"), [(None, None), (-1, None), (0, 0), (16, 16)])
def test_a_limit(limit: int | None, tokens: int | None) -> None:
    assert parse(max_output_tokens=limit).request.generation.max_tokens == tokens


def test_messages_in_all_their_forms() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]
    said = [{"type": "output_text", "text": "c", "annotations": []}]
    refused = [{"type": "refusal", "refusal": "No."}]
    assert read(
        [
            item("developer", "Be brief."),
            {"type": "message", "role": "user", "content": parts},
            {"type": "message", "id": "msg_0", "status": "completed", **item("assistant", said)},
            item("user", "And?"),
            item("assistant", refused),
            item("user", ""),
        ]
    ) == (
        Message("system", "Be brief."),
        Message("user", "a\nb"),
        Message("assistant", "c"),
        Message("user", "And?"),
        Message("assistant", "No."),
        Message("user", ""),
    )


def test_what_the_assistant_did_without_a_break_is_one_turn() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "H"}],
    }
    more = {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "m"}],
    }
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": "x", "content": None}
    again = CALL | {"call_id": "a2", "arguments": ""}
    assert read(
        [item("user", "x"), thought, item("assistant", "Well"), more, sealed, CALL, again, OUTPUT,
         OUTPUT | {"call_id": "a2", "output": [{"type": "input_text", "text": "none"}]}]
    ) == (
        Message("user", "x"),
        Message(
            "assistant",
            "Well",
            tool_calls=(ToolCall("a1", "look", '{"at": 1}'), ToolCall("a2", "look", "{}")),
            reasoning="H\n\nm",
        ),
        Message("tool", "a wall", tool_call_id="a1"),
        Message("tool", "none", tool_call_id="a2"),
    )  # fmt: skip


def test_a_call_alone_has_no_content() -> None:
    assert read([item("user", "x"), CALL, OUTPUT])[1].content is None


def test_a_request_goes_on_from_what_was_before() -> None:
    history = (
        Said("", "user", "Where?"),
        Thought("rs_1", "I must look."),
        Called("fc_1", ToolCall("a1", "look", "{}")),
    )
    asked = parse([OUTPUT], previous_response_id="resp_1", instructions="New.")
    assert asked.previous_id == "resp_1"
    asked = asked.after(history, KEPT.get, scope="")
    assert asked.request.messages == (
        Message("system", "New."),
        Message("user", "Where?"),
        Message(
            "assistant", None, tool_calls=(ToolCall("a1", "look", "{}"),), reasoning="I must look."
        ),
        Message("tool", "a wall", tool_call_id="a1"),
    )
    assert asked.items == (*history, Result("a1", "a wall"))


def test_items_of_earlier_responses_can_be_named() -> None:
    assert read([item("user", "x"), {"type": "item_reference", "id": "msg_1"}, item("user", "y")])[
        1
    ] == Message("assistant", "Kept")
    assert read([item("user", "x"), {"id": "msg_1"}])[1] == Message("assistant", "Kept")
    with pytest.raises(InvalidRequest, match="'msg_2' is not kept"):
        read([{"type": "item_reference", "id": "msg_2"}])


def test_tools_that_are_no_functions_are_skipped() -> None:
    skipped = [
        {"type": "web_search"},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}},
        {"type": "namespace", "name": "x", "tools": [LOOK]},
        {"type": "mcp", "server_label": "x"},
    ]
    asked = parse(tools=[*skipped, LOOK | {"strict": None}])
    assert asked.request.tools == (Tool("look", "Looks", {"type": "object"}),)
    (echoed,) = asked.echo["tools"]  # type: ignore[misc]
    assert echoed == LOOK | {"strict": False}
    assert parse(tools=skipped).request.tools == ()


GO = {"type": "function", "name": "go"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (None, ["look", "go"]),
        ("auto", ["look", "go"]),
        ("none", []),
        ({"type": "allowed_tools", "mode": "auto", "tools": [GO]}, ["go"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": "x"}, []),
        ({"type": "allowed_tools", "tools": [{"name": ["x"]}, 1, LOOK]}, ["look"]),
    ],
)
def test_which_tools_may_be_called(choice: object, names: list[str]) -> None:
    tools = parse(tools=[LOOK, GO], tool_choice=choice).request.tools
    assert [tool.name for tool in tools] == names


def test_reasoning_reaches_the_template() -> None:
    asked = parse(reasoning={"effort": "low", "summary": "auto"})
    assert asked.request.template_options == {"reasoning_effort": "low"}
    assert asked.echo["reasoning"] == {"effort": "low", "summary": None}
    options = parse(reasoning={"effort": "none"}).request.template_options
    assert options["enable_thinking"] is False


def test_what_agents_send_besides_is_accepted() -> None:
    asked = parse(
        store=False,
        include=["reasoning.encrypted_content"],
        text={"verbosity": "low", "format": {"type": "text"}},
        truncation="auto",
        parallel_tool_calls=False,
        prompt_cache_key="x",
        service_tier="auto",
        metadata={"a": "b"},
        client_metadata={},
        background=False,
        conversation=None,
        user="x",
        top_logprobs=0,
        stream_options={"include_obfuscation": False},
    )
    assert not asked.store
    assert asked.echo["metadata"] == {"a": "b"}
    assert asked.echo["parallel_tool_calls"] is False


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,eA=="}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": [item("user", [IMAGE])]}, "input.0.content.0"),
        ({"input": [item("user", [{"type": "input_file", "file_id": "x"}])]}, "input.0.content.0"),
        ({"input": [CALL, OUTPUT | {"output": [IMAGE]}]}, "input.1.output.0"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input.0"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"truncation": "middle"}, "truncation"),
        ({"n": 2}, "n"),
        ({"tools": [LOOK], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        (
            {
                "tools": [LOOK],
                "tool_choice": {"type": "allowed_tools", "mode": ["x"], "tools": [LOOK]},
            },
            "tool_choice",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    fields: dict[str, object], named: str
) -> None:
    with pytest.raises(UnsupportedField) as caught:
        parse_response(json.dumps({"input": "x", **fields}).encode())
    assert caught.value.param == named


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "input"),
        ([OUTPUT], "input"),
        ([CALL, OUTPUT, OUTPUT | {"call_id": "b"}], "input"),
        ([item("user", "x"), CALL], "input"),
        ([{"role": "user"}], "input.0.content"),
        ([{"type": "message", "content": "x"}], "input.0.role"),
        ([{"type": "function_call", "call_id": "a"}], "input.0.name"),
        ([{"type": "function_call", "name": "a"}], "input.0.call_id"),
        ([CALL, {"type": "function_call_output", "call_id": "a1"}], "input.1.output"),
        ([{"type": "item_reference"}], "input.0.id"),
        ([{}], "input.0.id"),
        ([item("user", [{"type": "input_text"}])], "input.0.content.0.text"),
    ],
)
def test_what_cannot_be_is_the_clients_fault(given: object, named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(given)
    assert caught.value.param == named


def test_something_must_be_said() -> None:
    with pytest.raises(InvalidRequest, match="no input"):
        parse_response(b"{}")
    assert parse_response(b'{"previous_response_id": "resp_1"}').given == ()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": 1}, "input"),
        ({"input": ["x"]}, "input.0"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools.0.name"),
        ({"tools": [LOOK | {"parameters": {"x": float("nan")}}]}, "tools.0.parameters"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"previous_response_id": "x" * 300}, "previous_response_id"),
        ({"text": "x"}, "text"),
    ],
)
def test_fields_of_the_wrong_type_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        parse_response(json.dumps({"input": "x", **fields}).encode())
    assert caught.value.param == named


def test_a_function_needs_a_name() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(tools=[{"type": "function"}])
    assert caught.value.param == "tools.0.name"


def test_ten_thousand_words_of_the_assistant_are_one_turn() -> None:
    (_, answer) = read([item("user", "x"), *[item("assistant", "word")] * 10_000])
    assert answer.content == "\n\n".join(["word"] * 10_000)


@pytest.mark.parametrize(
    ("format", "wanted"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonShape('{"type": "object"}', "text.format")),
        (
            {"type": "json_schema", "name": "x", "schema": {"type": "array"}, "strict": True},
            JsonShape('{"type": "array"}', "text.format"),
        ),
    ],
)
def test_the_form_of_the_answer_is_read(format: object, wanted: object) -> None:
    assert parse(text={"format": format}).request.generation.shape == wanted


def test_a_form_without_its_schema_is_the_clients_fault() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(text={"format": {"type": "json_schema", "name": "x"}})
    assert caught.value.param == "text.format.schema"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"tool_choice": "required"}, CallPolicy(required=True)),
        ({"tool_choice": {"type": "function", "name": "go"}}, CallPolicy(True, ("go",))),
        ({"parallel_tool_calls": False}, CallPolicy(parallel=False)),
    ],
)
def test_a_call_may_be_demanded(fields: dict[str, object], wanted: CallPolicy) -> None:
    assert parse(tools=[LOOK, GO], **fields).request.calls == wanted
