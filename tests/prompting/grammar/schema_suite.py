"""JSON schemas with instances that they allow and instances that they forbid.

Instances are JSON texts as a model might write them; properties stand in the order of the schema,
which is the order in which answers have them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    schema: dict[str, Any]
    valid: tuple[str, ...]
    invalid: tuple[str, ...]


def case(name: str, schema: dict[str, Any], valid: list[Any], invalid: list[Any]) -> Case:
    """Instances that are texts already are given as `Text`."""
    return Case(name, schema, tuple(map(_text, valid)), tuple(map(_text, invalid)))


class Text(str):
    """An instance as it is written."""


def _text(instance: Any) -> str:
    return instance if isinstance(instance, Text) else json.dumps(instance, ensure_ascii=False)


def closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """An object with these properties and no others, all required unless said otherwise."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}
BOOLEAN: dict[str, Any] = {"type": "boolean"}

TREE: dict[str, Any] = {
    "$defs": {
        "node": closed(
            {"value": INTEGER, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}
        )
    },
    "$ref": "#/$defs/node",
}

CASES: tuple[Case, ...] = (
    # Types
    case("a string", STRING, ["", "a", "two words", "ü"], [1, None, Text("a"), Text("'a'")]),
    case("an integer", INTEGER, [0, -1, 42, 10**15], [1.5, "1", Text("01"), Text("+1"), True]),
    case("a number", NUMBER, [0, -1.5, 1e10, 3.14], ["1", Text(".5"), Text("1."), Text("NaN")]),
    case("a boolean", BOOLEAN, [True, False], [0, "true", Text("True"), None]),
    case("null", {"type": "null"}, [None], [0, "", "null", False]),
    case("any object", {"type": "object"}, [{}, {"a": [1, {"b": None}]}], [[], 1, Text("{a: 1}")]),
    case("any array", {"type": "array"}, [[], [1, "a", [None]]], [{}, "[]", Text("[1,]")]),
    case("several types", {"type": ["string", "integer"]}, ["a", 1], [1.5, None, []]),
    case("string or null", {"type": ["string", "null"]}, ["a", None], [0, {}]),
    case("anything", {}, [1, "a", None, [], {"a": 1}], [Text("nothing"), Text("{"), Text("")]),
    # Objects
    case(
        "one property",
        closed({"name": STRING}),
        [{"name": "Ann"}],
        [{}, {"name": 1}, {"name": "a", "b": 1}, {"Name": "a"}],
    ),
    case(
        "two properties",
        closed({"name": STRING, "age": INTEGER}),
        [{"name": "Ann", "age": 3}],
        [{"name": "Ann"}, {"age": 3}, {"name": "Ann", "age": "3"}],
    ),
    case(
        "an optional property",
        closed({"a": INTEGER, "b": INTEGER}, ["a"]),
        [{"a": 1}, {"a": 1, "b": 2}],
        [{"b": 2}, {}, {"a": 1, "c": 2}],
    ),
    case(
        "optional properties around a required one",
        closed({"a": INTEGER, "b": INTEGER, "c": INTEGER}, ["b"]),
        [{"b": 1}, {"a": 1, "b": 2}, {"b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}],
        [{"a": 1}, {"a": 1, "c": 3}, {}],
    ),
    case(
        "nothing required",
        closed({"a": INTEGER, "b": STRING}, []),
        [{}, {"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}],
        [{"a": "x"}, {"c": 1}],
    ),
    case("no property at all", closed({}), [{}], [{"a": 1}, []]),
    case(
        "further properties are free",
        {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
        [{"a": 1}, {"a": 1, "z": [None]}],
        [{"z": 1}, {"a": "1"}],
    ),
    case(
        "further properties have a type",
        {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": STRING},
        [{}, {"a": 1, "z": "x"}, {"z": "x"}],
        [{"z": 1}, {"a": "x"}],
    ),
    case(
        "a map",
        {"type": "object", "additionalProperties": NUMBER},
        [{}, {"a": 1, "b": 2.5}],
        [{"a": "1"}, {"a": None}],
    ),
    case(
        "required without being described",
        {"type": "object", "properties": {"a": INTEGER}, "required": ["a", "b"]},
        [{"a": 1, "b": "x"}],
        [{"a": 1}, {"b": 1}],
    ),
    case(
        "nested objects",
        closed({"at": closed({"x": NUMBER, "y": NUMBER}), "label": STRING}),
        [{"at": {"x": 1, "y": -2.5}, "label": "p"}],
        [{"at": {"x": 1}, "label": "p"}, {"at": [1, 2], "label": "p"}],
    ),
    case(
        "four levels",
        closed({"a": closed({"b": closed({"c": closed({"d": BOOLEAN})})})}),
        [{"a": {"b": {"c": {"d": True}}}}],
        [{"a": {"b": {"c": {}}}}, {"a": {"b": {"c": {"d": 1}}}}],
    ),
    case(
        "names with spaces and quotes",
        closed({'a "b"': INTEGER, "c d": INTEGER, "ü": INTEGER, "\\": INTEGER}),
        [{'a "b"': 1, "c d": 2, "ü": 3, "\\": 4}],
        [{"a b": 1, "c d": 2, "ü": 3, "\\": 4}],
    ),
    case(
        "names by pattern",
        {"type": "object", "patternProperties": {"^n_": INTEGER}, "additionalProperties": False},
        [{}, {"n_a": 1}],
        [{"m_a": 1}, {"n_a": "x"}],
    ),
    case(
        "at least one entry",
        {"type": "object", "additionalProperties": INTEGER, "minProperties": 1},
        [{"a": 1}, {"a": 1, "b": 2}],
        [{}],
    ),
    case(
        "at most two entries",
        {"type": "object", "additionalProperties": INTEGER, "maxProperties": 2},
        [{}, {"a": 1}, {"a": 1, "b": 2}],
        [{"a": 1, "b": 2, "c": 3}],
    ),
    # Arrays
    case("strings", {"type": "array", "items": STRING}, [[], ["a"], ["a", "b"]], [[1], "a"]),
    case(
        "at least two",
        {"type": "array", "items": INTEGER, "minItems": 2},
        [[1, 2], [1, 2, 3]],
        [[], [1]],
    ),
    case(
        "at most two",
        {"type": "array", "items": INTEGER, "maxItems": 2},
        [[], [1], [1, 2]],
        [[1, 2, 3]],
    ),
    case(
        "exactly three",
        {"type": "array", "items": BOOLEAN, "minItems": 3, "maxItems": 3},
        [[True, False, True]],
        [[True, False], [True] * 4, []],
    ),
    case("empty only", {"type": "array", "maxItems": 0}, [[]], [[1], [None]]),
    case(
        "a tuple",
        {"type": "array", "prefixItems": [STRING, INTEGER], "items": False, "minItems": 2},
        [["a", 1]],
        [["a"], [1, "a"], ["a", 1, 2]],
    ),
    case(
        "a tuple with a tail",
        {"type": "array", "prefixItems": [STRING], "items": INTEGER, "minItems": 1},
        [["a"], ["a", 1, 2]],
        [[], [1], ["a", "b"]],
    ),
    case(
        "a matrix",
        {"type": "array", "items": {"type": "array", "items": NUMBER, "minItems": 1}},
        [[], [[1], [2, 3]]],
        [[[]], [1]],
    ),
    case(
        "objects in a list",
        {"type": "array", "items": closed({"id": INTEGER}), "minItems": 1},
        [[{"id": 1}], [{"id": 1}, {"id": 2}]],
        [[], [{}], [{"id": "1"}]],
    ),
    case(
        "lists in an object",
        closed({"tags": {"type": "array", "items": STRING}, "n": INTEGER}),
        [{"tags": [], "n": 1}, {"tags": ["a", "b"], "n": 2}],
        [{"tags": "a", "n": 1}, {"tags": [1], "n": 1}],
    ),
    # Enumerations and constants
    case("an enumeration", {"enum": ["red", "green"]}, ["red", "green"], ["blue", "re", 1, "Red"]),
    case("mixed values", {"enum": [1, "a", None, True]}, [1, "a", None, True], [2, "b", False]),
    case("a list among values", {"enum": [[1, 2], {"a": 1}]}, [[1, 2], {"a": 1}], [[1], {}]),
    case(
        "an enumeration with a type", {"type": "string", "enum": ["a", "b"]}, ["a", "b"], ["c", 1]
    ),
    case("texts that begin alike", {"enum": ["a", "ab", "abc"]}, ["a", "ab", "abc"], ["abcd", ""]),
    case("quotes in a value", {"enum": ['say "hi"', "a\\b"]}, ['say "hi"', "a\\b"], ["say hi"]),
    case("a constant text", {"const": "yes"}, ["yes"], ["no", "yes ", None]),
    case("a constant number", {"const": 7}, [7], [8, "7", 70]),
    case("a constant null", {"const": None}, [None], [0, "null"]),
    case("a constant object", {"const": {"a": [1]}}, [{"a": [1]}], [{"a": [2]}, {}]),
    case("a constant in an object", closed({"v": {"const": 1}}), [{"v": 1}], [{"v": 2}, {}]),
    # Combinations
    case("one of two types", {"anyOf": [STRING, INTEGER]}, ["a", 1], [1.5, None]),
    case(
        "one of two objects",
        {"anyOf": [closed({"a": INTEGER}), closed({"b": STRING})]},
        [{"a": 1}, {"b": "x"}],
        [{"a": "x"}, {"b": 1}, {"a": 1, "b": "x"}, {}],
    ),
    case(
        "objects told apart by a constant",
        {
            "oneOf": [
                closed({"kind": {"const": "circle"}, "r": NUMBER}),
                closed({"kind": {"const": "square"}, "side": NUMBER}),
            ]
        },
        [{"kind": "circle", "r": 1}, {"kind": "square", "side": 2}],
        [{"kind": "circle", "side": 1}, {"kind": "oval", "r": 1}],
    ),
    case("nothing or a number", {"anyOf": [NUMBER, {"type": "null"}]}, [1.5, None], ["x", False]),
    case(
        "nested choices",
        {"anyOf": [{"anyOf": [BOOLEAN, INTEGER]}, {"type": "array", "items": STRING}]},
        [True, 3, ["a"], []],
        ["a", [1], None],
    ),
    case(
        "all of two objects",
        {
            "allOf": [
                {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
                {"type": "object", "properties": {"b": STRING}, "required": ["b"]},
            ]
        },
        [{"a": 1, "b": "x"}],
        [{"a": 1}, {"b": "x"}, {"a": "x", "b": "x"}],
    ),
    case(
        "all of two bounds",
        {"allOf": [{"type": "integer", "minimum": 2}, {"type": "integer", "maximum": 4}]},
        [2, 3, 4],
        [1, 5, "3"],
    ),
    case(
        "limits beside a choice",
        {"type": "object", "properties": {"v": {"anyOf": [STRING, INTEGER], "minLength": 2}}},
        [{"v": "ab"}, {"v": 1}, {}],
        [{"v": "a"}, {"v": None}],
    ),
    # References
    case(
        "a definition",
        {
            "$defs": {"point": closed({"x": INTEGER, "y": INTEGER})},
            **closed({"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}}),
        },
        [{"from": {"x": 1, "y": 2}, "to": {"x": 3, "y": 4}}],
        [{"from": {"x": 1}, "to": {"x": 3, "y": 4}}],
    ),
    case(
        "definitions by their old name",
        {"definitions": {"s": STRING}, **closed({"a": {"$ref": "#/definitions/s"}})},
        [{"a": "x"}],
        [{"a": 1}],
    ),
    case(
        "a chain of references",
        {
            "$defs": {
                "a": {"$ref": "#/$defs/b"},
                "b": {"$ref": "#/$defs/c"},
                "c": {"enum": ["end"]},
            },
            "$ref": "#/$defs/a",
        },
        ["end"],
        ["a", None],
    ),
    case(
        "a tree",
        TREE,
        [
            {"value": 1, "children": []},
            {"value": 1, "children": [{"value": 2, "children": []}]},
        ],
        [{"value": 1}, {"value": 1, "children": [{"value": 2}]}, {"value": "x", "children": []}],
    ),
    case(
        "a linked list",
        {
            "$defs": {
                "node": closed(
                    {"v": INTEGER, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}
                )
            },
            "$ref": "#/$defs/node",
        },
        [{"v": 1, "next": None}, {"v": 1, "next": {"v": 2, "next": None}}],
        [{"v": 1}, {"v": 1, "next": {"v": 2}}, {"v": 1, "next": 2}],
    ),
    case(
        "a reference to the whole",
        closed({"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
        [{"next": None}, {"next": {"next": None}}],
        [{}, {"next": {}}, {"next": 1}],
    ),
    case(
        "two kinds that name each other",
        {
            "$defs": {
                "even": closed({"odd": {"anyOf": [{"$ref": "#/$defs/odd"}, {"type": "null"}]}}),
                "odd": closed({"even": {"$ref": "#/$defs/even"}}),
            },
            "$ref": "#/$defs/even",
        },
        [{"odd": None}, {"odd": {"even": {"odd": None}}}],
        [{"odd": {"odd": None}}, {"even": None}],
    ),
    case(
        "a reference with a slash in its name",
        {"$defs": {"a/b": INTEGER, "c~d": STRING}, **closed({"x": {"$ref": "#/$defs/a~1b"}})},
        [{"x": 1}],
        [{"x": "1"}],
    ),
    # Strings
    case("at least two letters", {"type": "string", "minLength": 2}, ["ab", "abc"], ["", "a"]),
    case("at most three letters", {"type": "string", "maxLength": 3}, ["", "abc"], ["abcd"]),
    case("one letter", {"type": "string", "minLength": 1, "maxLength": 1}, ["a", "ü"], ["", "ab"]),
    case("length in characters", {"type": "string", "maxLength": 2}, ["日本", "ää"], ["日本語"]),
    case("a pattern", {"type": "string", "pattern": "^[a-z]+$"}, ["abc"], ["", "A", "a1"]),
    case("a pattern within", {"type": "string", "pattern": "[0-9]"}, ["a1b", "7"], ["", "abc"]),
    case(
        "a pattern of digits",
        {"type": "string", "pattern": r"^\d{3}-\d{4}$"},
        ["555-1234"],
        [
            "5551234",
            "555-12345",
            "abc-defg",
        ],
    ),
    case(
        "a choice in a pattern",
        {"type": "string", "pattern": "^(cat|dog)s?$"},
        ["cat", "dogs"],
        [
            "bird",
            "catss",
        ],
    ),
    case("words", {"type": "string", "pattern": r"^\w+ \w+$"}, ["two words"], ["one", "a  b"]),
    case("a slash in a pattern", {"type": "string", "pattern": "^a/b$"}, ["a/b"], ["ab"]),
    case("a quote in a pattern", {"type": "string", "pattern": '^"x"$'}, ['"x"'], ["x"]),
    case(
        "pattern and length",
        {"type": "string", "pattern": "^a*$", "minLength": 2, "maxLength": 3},
        ["aa", "aaa"],
        ["a", "aaaa", "bb"],
    ),
    case("a date", {"type": "string", "format": "date"}, ["2026-11-26"], ["26.11.2026", "x"]),
    case(
        "a point in time",
        {"type": "string", "format": "date-time"},
        ["2026-11-26T03:31:18Z", "2026-11-26T03:31:18+01:00"],
        ["2026-11-26", "yesterday"],
    ),
    case("a time", {"type": "string", "format": "time"}, ["03:31:18Z"], ["3 o'clock", "25:00:00Z"]),
    case(
        "a UUID",
        {"type": "string", "format": "uuid"},
        ["123e4567-e89b-12d3-a456-426614174000"],
        ["123e4567", "zzze4567-e89b-12d3-a456-426614174000"],
    ),
    case("an address", {"type": "string", "format": "ipv4"}, ["127.0.0.1"], ["256.0.0.1", "a.b"]),
    case("mail", {"type": "string", "format": "email"}, ["a@example.org"], ["a", "@example.org"]),
    # Numbers
    case("not negative", {"type": "integer", "minimum": 0}, [0, 7, 1000], [-1, -100]),
    case("a range", {"type": "integer", "minimum": 3, "maximum": 12}, [3, 9, 12], [2, 13, -5, 100]),
    case(
        "exclusive bounds",
        {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
        [
            1,
            2,
        ],
        [0, 3],
    ),
    case("a share", {"type": "number", "minimum": 0, "maximum": 1}, [0, 0.5, 1], [1.5, -0.1, 2]),
    case("negative bounds", {"type": "integer", "minimum": -5, "maximum": -2}, [-5, -3], [-6, -1]),
    case(
        "a wide range",
        {"type": "integer", "minimum": 100, "maximum": 65535},
        [100, 65535],
        [
            99,
            65536,
        ],
    ),
    case("multiples", {"type": "integer", "multipleOf": 5}, [0, 5, 10, -15], [1, 7]),
    case(
        "multiples in a range",
        {"type": "integer", "multipleOf": 3, "minimum": 1, "maximum": 10},
        [
            3,
            6,
            9,
        ],
        [0, 4, 12],
    ),
    case(
        "decimals",
        {"type": "number", "exclusiveMinimum": 1.5, "maximum": 2.5},
        [1.6, 2, 2.5],
        [
            1.5,
            2.6,
            1,
        ],
    ),
    # Unicode and escapes
    case("every script", STRING, ["日本語", "Ελληνικά", "עברית", "🙂", "e\u0301"], [Text('"a')]),
    case(
        "escapes",
        STRING,
        ['a"b', "a\\b", "a\nb", "a\tb", Text(r'"a\u0001b"')],
        [Text('"a\nb"'), Text(r'"\x41"'), Text(r'"\q"'), Text(r'"\u12"')],
    ),
    case("an emoji among values", {"enum": ["🙂", "日本"]}, ["🙂", "日本"], ["🙃", "日"]),
    case("a name in another script", closed({"名前": STRING}), [{"名前": "花子"}], [{"name": "x"}]),
    # White space
    case(
        "lines and indentation",
        closed({"a": INTEGER, "b": {"type": "array", "items": INTEGER}}),
        [
            Text('{"a":1,"b":[1,2]}'),
            Text('{"a": 1, "b": [1, 2]}'),
            Text('{\n  "a": 1,\n  "b": [\n    1,\n    2\n  ]\n}'),
        ],
        [Text('{"a": 1 "b": []}'), Text('{"a"  :  1,    "b": []}'), Text('{"a": 1,\n\n\n"b": []}')],
    ),
    # What real clients send
    case(
        "a person, as a client's data class",
        {
            "$defs": {
                "Address": {
                    "title": "Address",
                    "type": "object",
                    "properties": {
                        "street": {"title": "Street", "type": "string"},
                        "zip": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                    },
                    "required": ["street"],
                }
            },
            "title": "Person",
            "description": "Somebody.",
            "type": "object",
            "properties": {
                "name": {"title": "Name", "type": "string", "examples": ["Ann"]},
                "addresses": {"type": "array", "items": {"$ref": "#/$defs/Address"}},
                "role": {"enum": ["admin", "user"], "title": "Role"},
            },
            "required": ["name", "addresses", "role"],
        },
        [{"name": "Ann", "addresses": [{"street": "Main St 1", "zip": None}], "role": "user"}],
        [{"name": "Ann", "addresses": [{}], "role": "user"}, {"name": "Ann", "role": "root"}],
    ),
    case(
        "steps to an answer",
        closed(
            {
                "steps": {
                    "type": "array",
                    "items": closed({"explanation": STRING, "output": STRING}),
                },
                "final_answer": STRING,
            }
        ),
        [{"steps": [{"explanation": "Add.", "output": "3"}], "final_answer": "3"}],
        [{"steps": [{"explanation": "Add."}], "final_answer": "3"}, {"final_answer": "3"}],
    ),
    case(
        "a draft named",
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.org/a.json",
            **closed({"a": STRING}),
        },
        [{"a": "x"}],
        [{"a": 1}, {}],
    ),
    case(
        "words that no draft knows",
        {**closed({"a": {"type": "string", "x-order": 1, "nullable": False}}), "x-note": "n"},
        [{"a": "x"}],
        [{"a": 1}],
    ),
)
