"""Calls that are demanded come in the model's own format, with arguments that fit their schema.

Every format is held against its own template: what the template renders is allowed, and what is
written blindly within the grammar is read by the format's parser as calls of offered tools.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import re
from typing import Any

import jsonschema
import pytest

from localserve.chat import CallPolicy, JsonShape, Message, Tool, ToolCall
from localserve.engine.constraint import Constraint, MakeConstraint
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.answer import Demand, Opening, grammar_of_answer
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.output.format import OutputFormat, TaggedCalls
from localserve.prompting.output.openers import split_markers
from localserve.prompting.output.parser import AnswerParser
from tests.prompting.grammar.byte_table import ByteTable, follows, write
from tests.prompting.output.collected import Collected
from tests.prompting.output.small_templates import BARE, TEMPLATES, format_of
from tests.prompting.output.test_round_trips import turn_text

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean"},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
NOW: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = (Tool("get_weather", None, CITY, strict=True), Tool("get_time", None, NOW, strict=True))
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
ARGUMENTS = {"city": "Paris", "unit": "C", "days": 3, "exact": True}
REQUIRED = CallPolicy(required=True)
FRESH = Opening()
ONE = CallPolicy(required=True, parallel=False)
WRITTEN = 3


class Bench:
    """A format with a vocabulary in which its markers are special tokens, or are not."""

    def __init__(self, name: str, *, special: bool) -> None:
        self.name = name
        self.format: OutputFormat = format_of(name)
        texts = [part for text in self.format.markers for part in split_markers(text)]
        markers = sorted({text for text in texts if re.fullmatch(r"<[^<>]+>", text)})
        self.table = ByteTable(*(markers if special else ()))
        self.compiler = GrammarCompiler(self.table)

    async def make(self, demand: Demand, opening: Opening = FRESH) -> MakeConstraint:
        grammar = grammar_of_answer(
            self.format, demand, opening, special=self.table.special, ends=self.table.ends
        )
        return await self.compiler.compile(grammar)

    def write(self, constraint: Constraint, seed: int) -> tuple[str, Collected]:
        """An answer that was written blindly, and what the parser makes of it."""
        calls = self.format.calls
        assert calls is not None
        form = calls.form
        closers = [calls.section.close, calls.each.close]
        if isinstance(form, TaggedCalls):
            values = [form.value_close.replace("{key}", key) for key in CITY["properties"]]
            if form.lines:
                values = ["\n", *values] if values[0] in self.table.special else ["\n" + values[0]]
            closers = values + closers
        if self.format.addressed is not None:
            closers = [*self.format.addressed.ends[:1], *closers]
        closers = [text for text in closers if text]
        tokens = write(constraint, self.table, seed, closers, raw=isinstance(form, TaggedCalls))
        parser = AnswerParser(self.format, SCHEMAS, special=self.table.special)
        found = Collected()
        decoder = codecs.getincrementaldecoder("utf-8")()
        for token in tokens:
            special = token >= self.table.first_special
            text = decoder.decode(self.table.spelling(token))
            found.add(parser.feed(text, (0,) if special else ()))
        found.add(parser.finish())
        return self.table.text(tokens), found

    def rendered(self, *calls: ToolCall) -> str:
        """What the template makes of calls, without what ends the turn."""
        text = turn_text(self.name, Message("assistant", None, tool_calls=calls))
        for end in (*self.format.ends, "<|im_end|>", "<|eot|>"):
            text = text.partition(end)[0]
        if self.name == "channels":  # its last marker ends an answer, the others are a variant
            text = text.partition("<|call|>")[0].replace("<|constrain|>", "")
        return text.strip()


@pytest.fixture(params=[True, False], ids=["special", "plain"])
def special(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=sorted(TEMPLATES))
def bench(request: pytest.FixtureRequest, special: bool) -> Bench:
    return Bench(request.param, special=special)


def call(name: str, arguments: dict[str, object], number: int = 0) -> ToolCall:
    return ToolCall(f"functions.{name}:{number}", name, json.dumps(arguments))


async def test_what_the_template_renders_is_allowed(bench: Bench) -> None:
    make = await bench.make(Demand(tools=TOOLS, calls=REQUIRED))
    one = bench.rendered(call("get_weather", ARGUMENTS))
    assert follows(make(), bench.table.tokens(one)), one
    bare = bench.rendered(call("get_weather", {"city": "Paris", "days": 3}))
    assert follows(make(), bench.table.tokens(bare)), bare


async def test_what_is_written_blindly_are_calls_with_arguments_that_fit(bench: Bench) -> None:
    make = await bench.make(Demand(tools=TOOLS, calls=REQUIRED))
    for seed in range(WRITTEN):
        text, found = bench.write(make(), seed)
        assert found.names, text
        for name, arguments in zip(found.names, found.arguments, strict=True):
            jsonschema.validate(json.loads(arguments), SCHEMAS[name])
        assert not found.content.strip(), text


ANYTHING: tuple[object, ...] = ("abc", "null words", 3, {"a": 1}, [True], True, None)
NULLABLE = (
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"enum": ["abc", "null", None]},
)


async def allows(bench: Bench, parameters: dict[str, Any] | None, value: object) -> str:
    """What the template makes of the value as the argument `s`, if the grammar lets it come and the
    parser gets the same value from it."""
    make = await bench.make(Demand(tools=(Tool("f", None, parameters),), calls=REQUIRED))
    text = bench.rendered(call("f", {"s": value}))
    assert follows(make(), bench.table.tokens(text)), text
    return text


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
async def test_an_argument_without_a_type_may_be_anything(bench: Bench, value: object) -> None:
    if isinstance(value, dict | list) and bench.name == "nested_tags":
        pytest.skip("they are tags there, and JSON where no schema names their members")
    schema = {"type": "object", "properties": {"s": {"description": "any"}}, "required": ["s"]}
    await allows(bench, schema, value)


@pytest.mark.parametrize("schema", NULLABLE, ids=["list", "anyOf", "enum"])
@pytest.mark.parametrize("value", ["abc", None])
async def test_an_argument_may_be_a_string_or_nothing(
    bench: Bench, schema: dict[str, Any], value: object
) -> None:
    parameters = {"type": "object", "properties": {"s": schema}, "required": ["s"]}
    await allows(bench, parameters, value)


TREE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "s": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name", "s"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("strict", [True, False])
async def test_arguments_may_refer_to_the_whole(bench: Bench, strict: bool) -> None:
    if bench.name == "nested_tags":
        pytest.skip("lists are tags there")
    make = await bench.make(Demand(tools=(Tool("f", None, TREE, strict=strict),), calls=REQUIRED))
    for value, right in (([], True), ([{"name": "x", "s": []}], True), ([[]], False)):
        text = bench.rendered(call("f", {"name": "r", "s": value}))
        assert follows(make(), bench.table.tokens(text)) == right, text


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"s": {}}, "required": [["a"]]},
        {"properties": {"s": {"$ref": "#"}}, "$defs": [1]},
        {"properties": {"s": {"enum": []}}},
        {"properties": {"s": {"enum": [{"a": 1}, "x", None]}}},
        {"$ref": "#"},
        {"$ref": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("strict", [True, False])
async def test_schemas_without_sense_are_taken_or_refused(
    bench: Bench, schema: dict[str, Any], strict: bool
) -> None:
    tool = Tool("f", None, schema, strict=strict)
    with contextlib.suppress(GrammarInvalid):
        await bench.make(Demand(tools=(tool,), calls=REQUIRED))


@pytest.mark.parametrize("value", ["12", 12])
async def test_a_root_may_refer_to_its_definition(bench: Bench, value: object) -> None:
    kind = "string" if isinstance(value, str) else "integer"
    inner = {"type": "object", "properties": {"s": {"type": kind}}, "required": ["s"]}
    parameters = {"$ref": "#/$defs/F", "$defs": {"F": {**inner, "additionalProperties": False}}}
    tool = Tool("f", None, parameters, strict=True)
    make = await bench.make(Demand(tools=(tool,), calls=REQUIRED))
    text = bench.rendered(call("f", {"s": value}))
    assert follows(make(), bench.table.tokens(text)), text
    wrong = bench.rendered(call("f", {"t": value}))
    assert not follows(make(), bench.table.tokens(wrong)), wrong


@pytest.mark.parametrize(
    "more",
    [
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"not": {"required": ["a"]}},
        {"minProperties": 2},
        {"dependentRequired": {"a": ["b"]}},
        {"required": ["c"]},
    ],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.parametrize("name", ["parameters", "typed_tags", "code"])
async def test_what_cannot_be_enforced_of_strict_arguments_is_refused_by_name(
    name: str, more: dict[str, Any]
) -> None:
    words = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    tool = Tool("f", None, {**words, **more}, strict=True)
    with pytest.raises(GrammarInvalid, match="cannot be enforced"):
        await Bench(name, special=True).make(Demand(tools=(tool,), calls=REQUIRED))


@pytest.mark.parametrize("parameters", [None, {"type": "object"}], ids=["none", "unnamed"])
async def test_arguments_that_no_schema_names_may_come(
    bench: Bench, parameters: dict[str, Any] | None
) -> None:
    text = await allows(bench, parameters, "Paris")
    parser = AnswerParser(bench.format, {"f": parameters}, special=bench.table.special)
    found = Collected()
    for token in bench.table.tokens(text):
        piece = bench.table.spelling(token).decode()
        found.add(parser.feed(piece, (0,) if token >= bench.table.first_special else ()))
    found.add(parser.finish())
    assert [json.loads(one) for one in found.arguments] == [{"s": "Paris"}]


async def test_only_one_call_comes_where_no_more_may(bench: Bench) -> None:
    make = await bench.make(Demand(tools=TOOLS, calls=ONE))
    for seed in range(WRITTEN):
        text, found = bench.write(make(), seed)
        assert len(found.names) == 1, text


async def test_only_the_tool_that_is_named_is_called(bench: Bench) -> None:
    named = CallPolicy(required=True, only=("get_time",))
    make = await bench.make(Demand(tools=TOOLS, calls=named))
    for seed in range(3):
        _, found = bench.write(make(), seed)
        assert {*found.names} == {"get_time"}


async def test_a_demanded_call_does_not_begin_with_words(bench: Bench) -> None:
    make = await bench.make(Demand(tools=TOOLS, calls=REQUIRED))
    assert not follows(make(), bench.table.tokens("I will look."))


async def test_reasoning_may_come_before_a_call_and_must_be_closed(bench: Bench) -> None:
    marks = bench.format.reasoning
    if bench.format.addressed is not None or not marks.open:
        return  # its reasoning is a message, or has no beginning
    make = await bench.make(Demand(tools=TOOLS, calls=REQUIRED), Opening(may_reason=True))
    rendered = bench.rendered(call("get_weather", ARGUMENTS))
    thought = f"{marks.open}\nFirst this, then {{that}}.\n{marks.close}\n\n"
    assert follows(make(), bench.table.tokens(thought + rendered))
    assert follows(make(), bench.table.tokens(rendered))
    assert not follows(make(), bench.table.tokens(f"{marks.open}\nFirst this"))
    inside = await bench.make(Demand(tools=TOOLS, calls=REQUIRED), Opening(inside=True))
    assert follows(inside(), bench.table.tokens(f"then.\n{marks.close}\n\n{rendered}"))
    assert not follows(inside(), bench.table.tokens("then."))


async def test_text_is_free_until_a_call_begins(bench: Bench) -> None:
    try:
        make = await bench.make(Demand(tools=TOOLS))
    except GrammarInvalid:
        assert bench.name in BARE, "its calls have a marker"
        return
    table = bench.table
    rendered = bench.rendered(call("get_weather", ARGUMENTS))
    assert follows(make(), table.tokens(rendered))
    if bench.format.addressed is None:
        assert follows(make(), table.tokens("Just words: <b>bold</b>."))
    wrong = rendered.replace("get_weather", "get_whether")
    assert not follows(make(), table.tokens(wrong)), "a call of no tool was let through"


async def test_an_answer_by_a_schema_comes_in_place_of_a_call(bench: Bench) -> None:
    shape = JsonShape(json.dumps({"type": "object", "required": ["a"]}))
    try:
        make = await bench.make(Demand(shape=shape, tools=TOOLS))
    except GrammarInvalid:
        assert bench.name in BARE, "its calls have a marker"
        return
    table = bench.table
    assert follows(make(), table.tokens(bench.rendered(call("get_weather", ARGUMENTS))))
    if bench.format.addressed is None:
        assert follows(make(), table.tokens('{"a": 1}'))
        assert not follows(make(), table.tokens('{"b": 1}'))
