"""Grammars that ask for too much, for what cannot be enforced, or for trouble."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localserve.chat import ChoiceShape, GrammarShape, JsonShape, RegexShape, Shape
from localserve.engine.constraint import ConstraintFailed, MakeConstraint
from localserve.engine.engine import Mailbox
from localserve.engine.scripted import ByteVocabulary, ScriptedRunner
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.cache import LeastRecentlyUsed
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.grammar.schema import MAX_DEPTH, MAX_SCHEMA_BYTES
from localserve.prompting.grammar.shapes import MAX_GRAMMAR_BYTES, grammar_of_shape
from tests.engine.rig import request
from tests.engine.test_engine import engine_of, take_all, text_of
from tests.prompting.grammar.byte_table import END, ByteTable, follows, write

TABLE = ByteTable()


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TABLE)


async def make(compiler: GrammarCompiler, shape: Shape) -> MakeConstraint:
    return await compiler.compile(grammar_of_shape(shape))


def schema(value: object) -> JsonShape:
    return JsonShape(json.dumps(value), "response_format")


async def accepts(compiler: GrammarCompiler, shape: Shape, text: str) -> bool:
    return follows((await make(compiler, shape))(), TABLE.tokens(text))


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (RegexShape(r"\d{3}-[a-f]+"), "123-abc", "12-abc"),
        (RegexShape(r"^(yes|no)$"), "yes", "yes."),
        (RegexShape("a/b\nc"), "a/b\nc", "ab"),
        (RegexShape(r"[^\x00-\x7f]+"), "日本", "a"),
        (ChoiceShape(("red", "green", "red")), "red", "blue"),
        (ChoiceShape(('a "quoted" one', "a\\b", "line\nbreak")), "line\nbreak", "a"),
        (GrammarShape('start: "a" b+\nb: "b" | "c"'), "abcb", "a"),
        (GrammarShape('start: /[0-9]+/ (" " /[0-9]+/)*'), "1 22 3", "1  2"),
        (GrammarShape('root ::= "yes" | "no"'), "no", "maybe"),
        (GrammarShape('root ::= item ("," item)*\nitem ::= [a-z]+\n'), "ab,c", ",a"),
        (
            GrammarShape('root ::= "a"\n  | "b" more\nmore ::= ("x" | "y")? # either\n'),
            "by",
            "ax",
        ),
        (GrammarShape('root ::= "[" [^\\]]{2,4} "]"'), "[abc]", "[a]"),
        (GrammarShape("%import common.INT\nstart: INT"), "42", "x"),
        (schema(True), "[1]", "x"),
    ],
)
async def test_shapes_are_kept_to(
    shape: Shape, good: str, bad: str, compiler: GrammarCompiler
) -> None:
    assert await accepts(compiler, shape, good)
    assert not await accepts(compiler, shape, bad)


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        (schema({"not": {"type": "string"}}), "not"),
        (schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (schema({"if": {"type": "string"}, "then": {"minLength": 2}}), "if"),
        (schema({"type": "object", "dependentRequired": {"a": ["b"]}}), "dependentRequired"),
        (schema({"type": "array", "contains": {"type": "string"}}), "contains"),
        (schema({"type": "object", "propertyNames": {"pattern": "a"}}), "propertyNames"),
        (schema({"oneOf": [{"type": "string"}, {"minLength": 2}]}), "oneOf"),
        (schema({"type": "string", "format": "idn-hostname"}), "idn-hostname"),
        (schema({"type": "strange"}), "strange"),
        (schema({"$ref": "https://example.org/other.json"}), "example.org"),
        (schema({"$ref": "#/$defs/absent"}), "absent"),
        (schema({"type": "string", "pattern": r"(?=a)b"}), "pattern|look"),
        (schema({"enum": []}), "empty"),
        (schema(False), "object"),
        (schema([1]), "object"),
        (JsonShape("{", "guided_json"), "guided_json"),
        (schema(nested(40)), "nested 81 deep"),
        (schema(nested(400)), "nested 801 deep"),
        (JsonShape("[" * 200_000, "guided_json"), "nested 200000 deep"),
        (schema({"description": "x" * MAX_SCHEMA_BYTES}), f"{MAX_SCHEMA_BYTES:,}"),
        (schema({"const": "\ud800"}), "response_format"),
        (RegexShape("(", "guided_regex"), "guided_regex"),
        (RegexShape(r"(a)\1", "guided_regex"), "backreference"),
        (RegexShape("(" * 5_000 + ")" * 5_000, "guided_regex"), "nested 5000 deep"),
        (RegexShape("a" * (MAX_GRAMMAR_BYTES + 1), "guided_regex"), f"{MAX_GRAMMAR_BYTES:,}"),
        (RegexShape("[]", "guided_regex"), "guided_regex"),
        (RegexShape("\ud800", "guided_regex"), "surrogate"),
        (ChoiceShape(("\udfff",), "guided_choice"), "surrogate"),
        (GrammarShape("start: undefined", "grammar"), "undefined"),
        (GrammarShape("nothing", "grammar"), "grammar"),
        (GrammarShape('begin: "a"', "grammar"), "start"),
        (GrammarShape("start: start", "grammar"), "grammar"),
        (GrammarShape("root ::= (", "grammar"), "GBNF"),
        (GrammarShape("root ::= absent", "grammar"), "absent"),
        (GrammarShape("start: @answer", "grammar"), "@answer"),
        (GrammarShape('%llguidance {}\nstart: "a"', "grammar"), "%llguidance"),
        (GrammarShape("start: " + "(" * 900 + '"a"' + ")" * 900, "grammar"), "nested 900 deep"),
        (GrammarShape("start: <|nobody|>", "grammar"), "nobody"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_enforced_is_refused_by_name(
    shape: Shape, named: str, compiler: GrammarCompiler
) -> None:
    with pytest.raises(GrammarInvalid, match=named) as caught:
        await make(compiler, shape)
    assert caught.value.param == shape.field
    assert len(str(caught.value)) < 1_000


HOSTILE: dict[str, Shape] = {
    "a very long string": schema({"type": "string", "maxLength": 131_072}),
    "a string of a great least length": schema({"type": "string", "minLength": 100_000}),
    "a very long list": schema({"type": "array", "minItems": 100_000, "items": {}}),
    "as deep as it may be": schema(nested((MAX_DEPTH - 1) // 2)),
    "three thousand objects": schema(
        {"anyOf": [{"type": "object", "properties": {f"p{n}": {"const": n}}} for n in range(3_000)]}
    ),
    "a chain of references": schema(
        {
            "$defs": {
                **{f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3_000)},
                "d3000": {"type": "null"},
            },
            "$ref": "#/$defs/d0",
        }
    ),
    "a circle of references": schema(
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    ),
    "all of each other": schema(
        {
            "$defs": {
                f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
                for n in range(40)
            }
            | {"d40": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "$ref": "#/$defs/d0",
        }
    ),
    "repeated repetitions": RegexShape("(a{1,1000}){1,1000}", "guided_regex"),
    "catastrophic elsewhere": RegexShape("(.*a){30}", "guided_regex"),
    "a huge alternation": RegexShape("|".join(f"word{n}" for n in range(8_000)), "guided_regex"),
    "many choices": ChoiceShape(tuple(f"choice number {n}" for n in range(4_000))),
    "left recursion": GrammarShape('start: start "a" | "a"'),
    "ambiguous": GrammarShape('start: start start | "a" | ""'),
    "a chain of rules": GrammarShape(
        "start: r0\n" + "".join(f"r{n}: r{n + 1}\n" for n in range(9_000)) + 'r9000: "a"\n'
    ),
    "a chain of terminals": GrammarShape(
        "start: T0\n" + "".join(f'T{n}: "a" T{n + 1}\n' for n in range(6_000)) + 'T6000: "a"\n'
    ),
    "exponential terminals": GrammarShape(
        "start: T0\n" + "".join(f"T{n}: T{n + 1} T{n + 1}\n" for n in range(60)) + 'T60: "a"\n'
    ),
    "exponential rules": GrammarShape(
        "start: r0\n" + "".join(f"r{n}: r{n + 1} r{n + 1}\n" for n in range(60)) + 'r60: "a"\n'
    ),
    "repeated rules": GrammarShape('start: a{100000}\na: b{100000}\nb: "x"'),
    "negated": GrammarShape("start: T\nT: ~(/(.*a){20}/ & /(.*b){20}/)"),
    "gbnf in a chain": GrammarShape(
        "root ::= r0\n" + "".join(f"r{n} ::= r{n + 1}\n" for n in range(3_000)) + 'r3000 ::= "a"\n'
    ),
}


def test_hostile_grammars_are_refused_or_kept_to_and_kill_nobody() -> None:
    """In a child: a process that dies of one would take this one along."""
    program = "from tests.prompting.grammar.test_compiler import try_all; try_all()"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    outcomes = dict(line.split(": ") for line in child.stdout.splitlines() if ": " in line)
    died = f"{child.returncode} behind {list(outcomes)[-1:]}: {child.stderr[-2_000:]}"
    assert child.returncode == 0, died
    assert list(outcomes) == list(HOSTILE)
    assert set(outcomes.values()) <= {"refused", "kept", "left"}


def try_all() -> None:
    """Say of each hostile grammar what came of it."""
    for name, shape in HOSTILE.items():
        print(f"{name}: {asyncio.run(_try(shape))}", flush=True)


async def _try(shape: Shape) -> str:
    """Compile it and write a little by it."""
    compiler = GrammarCompiler(TABLE)
    try:
        constraint = (await make(compiler, shape))()
        for _ in range(200):
            row = np.zeros(TABLE.size, dtype=np.float32)
            constraint.restrict(row)
            allowed = np.flatnonzero(row == 0.0)
            if not len(allowed) or constraint.complete or allowed[0] == END:
                break
            constraint.accept(int(allowed[0]))
    except GrammarInvalid:
        return "refused"
    except ConstraintFailed:
        return "left"
    finally:
        compiler.close()
    return "kept"


async def test_a_switch_within_a_schema_loosens_nothing(compiler: GrammarCompiler) -> None:
    lenient = {"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}
    with pytest.raises(GrammarInvalid, match="uniqueItems"):
        await make(compiler, schema(lenient))


async def test_white_space_is_bounded(compiler: GrammarCompiler) -> None:
    shape = schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert await accepts(compiler, shape, '{\n    "a": 1\n}')
    assert not await accepts(compiler, shape, "{\n\n\n" + '"a": 1}')
    assert not await accepts(compiler, shape, "{" + " " * 50 + '"a": 1}')


async def test_every_token_that_ends_an_answer_may_end_it(compiler: GrammarCompiler) -> None:
    constraint = (await make(compiler, RegexShape("[0-9]+")))()
    assert not constraint.allows(TABLE.second_end)
    constraint.accept(ord("7"))
    row = np.zeros(TABLE.size, dtype=np.float32)
    constraint.restrict(row)
    for end in TABLE.ends:
        assert constraint.allows(end)
        assert row[end] == 0.0


async def test_a_mask_has_just_the_tokens_that_are_allowed(compiler: GrammarCompiler) -> None:
    for pattern in ("[a-c]x", "(?s:.*)", "日本|ab", '[^"]{2}"'):
        constraint = (await make(compiler, RegexShape(pattern)))()
        row = np.arange(TABLE.size, dtype=np.float32)
        constraint.restrict(row)
        allowed = [token for token in range(TABLE.size) if constraint.allows(token)]
        assert np.flatnonzero(row > -np.inf).tolist() == allowed
        assert row[allowed].tolist() == allowed, "a logit was changed"


async def test_a_matcher_that_failed_lets_nothing_through(compiler: GrammarCompiler) -> None:
    constraint = (await make(compiler, RegexShape("[0-9]+")))()
    with pytest.raises(ConstraintFailed):
        constraint.accept(ord("x"))
    for question in (
        lambda: constraint.allows(ord("1")),
        lambda: constraint.allows(END),
        lambda: constraint.restrict(np.zeros(TABLE.size, dtype=np.float32)),
        lambda: constraint.complete,
    ):
        with pytest.raises(ConstraintFailed):
            question()


async def test_answers_of_one_grammar_do_not_share_their_states(compiler: GrammarCompiler) -> None:
    one = await make(compiler, RegexShape("ab"))
    first, second = one(), one()
    first.accept(ord("a"))
    assert first.allows(ord("b"))
    assert not second.allows(ord("b"))
    assert second.allows(ord("a"))


async def test_an_answer_goes_on_from_words_that_were_begun(compiler: GrammarCompiler) -> None:
    shape = schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    begun = await compiler.compile(grammar_of_shape(shape), begun='{"a": 4')
    assert follows(begun(), TABLE.tokens("2}"))
    assert not follows(begun(), TABLE.tokens('{"a": 4}'))
    with pytest.raises(GrammarInvalid, match="do not fit") as caught:
        await compiler.compile(grammar_of_shape(shape), begun="Sure: ")
    assert caught.value.param == "messages"


async def test_a_grammar_is_compiled_once_and_kept() -> None:
    compiler = GrammarCompiler(TABLE)
    assert await make(compiler, RegexShape("a+")) is await make(compiler, RegexShape("a+"))
    assert await make(compiler, RegexShape("a+")) is not await make(compiler, RegexShape("a*"))
    compiler.close()


def test_the_least_recently_used_makes_room() -> None:
    kept = LeastRecentlyUsed[int](most=2, most_bytes=100)
    kept.put("a", 1, 10)
    kept.put("b", 2, 10)
    assert kept.get("a") == 1
    kept.put("c", 3, 10)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    kept.put("d", 4, 95)
    assert (len(kept), kept.get("d"), kept.size_bytes) == (1, 4, 95)
    kept.put("e", 5, 101)
    assert (kept.get("e"), kept.get("d")) == (None, 4)
    kept.put("d", 6, 20)
    assert (kept.get("d"), kept.size_bytes) == (6, 20)


async def test_what_is_written_by_a_schema_through_the_engine_fits_it() -> None:
    """The whole way but a model: a scripted one that would rather say something else."""

    class Bytes(ByteVocabulary):
        ends = (256,)

        def spelling(self, token: int) -> bytes:
            return self.piece(token)

        def is_text(self, token: int) -> bool:
            return token < 256

    compiler = GrammarCompiler(Bytes())
    shape = schema(
        {
            "type": "object",
            "properties": {"a": {"enum": ["x", "yz"]}, "b": {"type": "boolean"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        }
    )
    asked = replace(request(b"\nno JSON at all\n"), constraint=await make(compiler, shape))
    async with engine_of(ScriptedRunner(instead=random.Random(1).choice)) as engine:
        mailbox = Mailbox()
        numbers = engine.submit_all([asked] * 4, mailbox)
        events = await take_all(mailbox, 4)
    for number in numbers:
        answer = json.loads(text_of(events[number]))
        assert answer["a"] in ("x", "yz")
        assert isinstance(answer["b"], bool)
    compiler.close()


async def test_answers_written_blindly_by_a_pattern_match_it(compiler: GrammarCompiler) -> None:
    made = await make(compiler, RegexShape(r"[a-f]{2,5}(-[0-9]{2})?"))
    for seed in range(20):
        text = TABLE.text(write(made(), TABLE, seed))
        assert re.fullmatch(r"[a-f]{2,5}(-[0-9]{2})?", text)


async def test_a_vocabulary_without_an_end_ends_where_nothing_may_follow() -> None:
    class Endless(ByteTable):
        def __init__(self) -> None:
            super().__init__()
            self.ends = ()

    compiler = GrammarCompiler(Endless())
    constraint = (await make(compiler, RegexShape("ab")))()
    for sign in b"ab":
        assert not constraint.complete
        row = np.zeros(TABLE.size, dtype=np.float32)
        constraint.restrict(row)
        assert row[sign] == 0.0
        constraint.accept(sign)
    assert constraint.complete
    compiler.close()


async def test_a_grammar_is_waited_for_only_so_long(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserve.prompting.grammar.compiler.COMPILE_SECONDS", 0.0)
    with pytest.raises(GrammarInvalid, match="not compiled within"):
        await make(compiler, RegexShape("never seen before"))
