"""The many ways to say what an answer has to look like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import ChoiceShape, GrammarShape, JsonShape, RegexShape, Shape
from localserve.dialects.openai import parse_chat, parse_completion
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
TEXT = json.dumps(SCHEMA)
ANY_OBJECT = '{"type": "object"}'


def shape(**fields: Any) -> Shape | None:
    chat = parse_chat(json.dumps({"messages": HELLO, **fields}).encode()).request
    text = parse_completion(json.dumps({"prompt": "Hello", **fields}).encode()).request
    assert chat.generation.shape == text.generation.shape
    return chat.generation.shape


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, JsonShape(ANY_OBJECT)),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, JsonShape(TEXT)),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": SCHEMA},
                }
            },
            JsonShape(TEXT),
        ),
        ({"guided_json": SCHEMA}, JsonShape(TEXT, "guided_json")),
        ({"guided_json": TEXT}, JsonShape(TEXT, "guided_json")),
        ({"json_schema": SCHEMA}, JsonShape(TEXT, "json_schema")),
        ({"guided_regex": "a+"}, RegexShape("a+", "guided_regex")),
        ({"regex": "a+"}, RegexShape("a+", "regex")),
        ({"guided_choice": ["a", "b"]}, ChoiceShape(("a", "b"), "guided_choice")),
        ({"guided_grammar": 'start: "a"'}, GrammarShape('start: "a"', "guided_grammar")),
        ({"grammar": 'root ::= "a"'}, GrammarShape('root ::= "a"', "grammar")),
        ({"ebnf": 'root ::= "a"'}, GrammarShape('root ::= "a"', "ebnf")),
        ({"structured_outputs": {"json": SCHEMA}}, JsonShape(TEXT, "structured_outputs.json")),
        (
            {"structured_outputs": {"json_object": True}},
            JsonShape(ANY_OBJECT, "structured_outputs.json_object"),
        ),
        ({"structured_outputs": {"regex": "a"}}, RegexShape("a", "structured_outputs.regex")),
        (
            {"structured_outputs": {"choice": ["a"]}},
            ChoiceShape(("a",), "structured_outputs.choice"),
        ),
        (
            {"structured_outputs": {"grammar": "start: A"}},
            GrammarShape("start: A", "structured_outputs.grammar"),
        ),
        ({"structured_outputs": {}}, None),
        ({"grammar": "", "guided_regex": ""}, None),
        ({"response_format": None, "guided_json": None}, None),
    ],
)
def test_a_shape_is_read_by_every_route(fields: dict[str, Any], wanted: Shape | None) -> None:
    assert shape(**fields) == wanted


def test_the_order_of_a_schemas_properties_is_kept() -> None:
    found = shape(guided_json=SCHEMA)
    assert isinstance(found, JsonShape)
    assert list(json.loads(found.schema)["properties"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"grammar": "start: A", "guided_json": {}}, InvalidRequest, "grammar"),
        (
            {"response_format": {"type": "json_schema"}},
            InvalidRequest,
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
         InvalidRequest, "response_format.json_schema.schema"),
        ({"response_format": {"type": "xml"}}, UnsupportedField, "response_format"),
        ({"response_format": "json"}, InvalidSchema, "response_format"),
        ({"guided_choice": []}, InvalidSchema, "guided_choice"),
        ({"guided_choice": [1]}, InvalidSchema, "guided_choice.0"),
        ({"guided_regex": 1}, InvalidSchema, "guided_regex"),
        (
            {"structured_outputs": {"structural_tag": "{}"}},
            UnsupportedField,
            "structured_outputs.structural_tag",
        ),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_read_is_refused_with_its_field(
    fields: dict[str, Any], error: type[InvalidRequest], param: str
) -> None:
    with pytest.raises(error) as caught:
        shape(**fields)
    assert caught.value.param == param


def test_a_body_nested_beyond_reason_is_the_clients_fault() -> None:
    body = b'{"messages": [{"role": "user", "content": "x"}], "guided_json": ' + b'{"a":' * 4_000
    with pytest.raises(InvalidRequest):
        parse_chat(body + b"1" + b"}" * 4_001)
