"""The tools of a chat request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import Tool
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


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_a_call_cannot_be_demanded(choice: object) -> None:
    with pytest.raises(UnsupportedField) as caught:
        tools(LOOK, tool_choice=choice)
    assert caught.value.param == "tool_choice"


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
