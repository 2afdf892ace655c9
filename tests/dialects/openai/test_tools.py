"""The tools of a chat request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import CallPolicy, Tool
from localserve.dialects.openai import parse_chat
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

LOOK = {"type": "function", "function": {"name": "look"}}


def tools(*wire: object, **fields: Any) -> tuple[Tool, ...]:
    message = {"role": "user", "content": "Hello"}
    return parse_chat(
        json.dumps({"messages": [message], "tools": wire, **fields}).encode()
    ).request.tools


def test_a_tool_is_its_name_what_it_is_for_and_the_schema_of_its_arguments() -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    function = {"name": "look", "description": "Looks", "parameters": schema, "strict": False}
    assert tools({"type": "function", "function": function}) == (Tool("look", "Looks", schema),)


@pytest.mark.parametrize("fields", [{"description": None}, {"parameters": None}, {}])
def test_only_the_name_is_needed(fields: dict[str, object]) -> None:
    assert tools({"function": {"name": "look", **fields}}) == (Tool("look"),)


@pytest.mark.parametrize(("choice", "shown"), [("auto", 1), (None, 1), ("none", 0)])
def test_tools_that_must_not_be_called_are_not_shown(choice: str | None, shown: int) -> None:
    assert len(tools(LOOK, tool_choice=choice)) == shown


def calls(*wire: object, **fields: Any) -> CallPolicy:
    message = {"role": "user", "content": "Hello"}
    body = {"messages": [message], "tools": wire, **fields}
    return parse_chat(json.dumps(body).encode()).request.calls


RUN = {"type": "function", "function": {"name": "run"}}
ALLOWED = {"mode": "auto", "tools": [RUN]}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, CallPolicy()),
        ({"tool_choice": "auto"}, CallPolicy()),
        ({"tool_choice": "required"}, CallPolicy(required=True)),
        ({"tool_choice": "any"}, CallPolicy(required=True)),
        ({"tool_choice": LOOK}, CallPolicy(required=True, only=("look",))),
        ({"parallel_tool_calls": False}, CallPolicy(parallel=False)),
        ({"parallel_tool_calls": None}, CallPolicy()),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
            CallPolicy(only=("run",)),
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {**ALLOWED, "mode": "required"},
                }
            },
            CallPolicy(required=True, only=("run",)),
        ),
    ],
)
def test_what_is_to_be_called_is_read(fields: dict[str, Any], wanted: CallPolicy) -> None:
    assert calls(LOOK, RUN, **fields) == wanted


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"type": "function", "function": {"name": "absent"}}, InvalidRequest),
        ({"type": "function"}, InvalidRequest),
        ({"type": "custom", "custom": {"name": "look"}}, UnsupportedField),
        ("sometimes", InvalidSchema),
        (7, InvalidSchema),
    ],
)
def test_a_choice_of_no_offered_function_is_refused(
    choice: object, error: type[InvalidRequest]
) -> None:
    with pytest.raises(error) as caught:
        calls(LOOK, tool_choice=choice)
    assert str(caught.value.param).startswith("tool_choice")


def test_a_strict_tool_is_known_as_one() -> None:
    assert tools({"function": {"name": "look", "strict": True}}) == (Tool("look", strict=True),)


def test_a_tool_choice_without_tools_cannot_be_satisfied() -> None:
    with pytest.raises(InvalidRequest, match="there are no tools"):
        tools(tool_choice="required")


@pytest.mark.parametrize(
    ("wire", "error", "param"),
    [
        ([LOOK, {"type": "custom", "custom": {"name": "x"}}], UnsupportedField, "tools.1"),
        ([{"type": "function"}], InvalidRequest, "tools.0.function"),
        ([LOOK, LOOK], InvalidRequest, "tools.1.function.name"),
        ([{"type": "function", "function": {}}], InvalidSchema, "tools.0.function.name"),
        ([{"function": {"name": ""}}], InvalidSchema, "tools.0.function.name"),
        ([LOOK] * 1025, InvalidSchema, "tools"),
        ([7], InvalidSchema, "tools.0"),
    ],
)
def test_a_tool_that_cannot_be_offered_is_refused_with_its_place(
    wire: list[object], error: type[InvalidRequest], param: str
) -> None:
    with pytest.raises(error) as caught:
        tools(*wire)
    assert caught.value.param == param
