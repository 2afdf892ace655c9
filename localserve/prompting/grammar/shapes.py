"""A shape of an answer as a part of a grammar. Pure."""

from __future__ import annotations

import re
from typing import assert_never

from localserve.chat import ChoiceShape, GrammarShape, JsonShape, RegexShape, Shape
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.gbnf import is_gbnf, lark_of_gbnf
from localserve.prompting.grammar.schema import check_depth, read_schema
from localserve.prompting.grammar.source import (
    Grammar,
    Part,
    RulesPart,
    SchemaPart,
    between_slashes,
    literal,
)

MAX_GRAMMAR_BYTES = 1 << 18
"""Of a grammar, a pattern, or all choices together."""

ANSWER = "answer"


def answer_part(shape: Shape) -> Part:
    """The part `@answer`. Raises: GrammarInvalid, for what can be said without compiling it."""
    field = shape.field
    match shape:
        case JsonShape(schema):
            return SchemaPart(ANSWER, read_schema(schema, field))
        case RegexShape(pattern):
            _check(pattern, field, "regular expression")
            return RulesPart(ANSWER, f"start: ALL\nALL: {between_slashes(pattern)}\n")
        case ChoiceShape(choices):
            _check("".join(choices), field, "list of choices", nested=False)
            options = " | ".join(map(literal, dict.fromkeys(choices)))
            return RulesPart(ANSWER, f"start: {options}\n")
        case GrammarShape(grammar):
            _check(grammar, field, "grammar")
            if is_gbnf(grammar):
                return RulesPart(ANSWER, lark_of_gbnf(grammar, field))
            _check_references(grammar, field)
            return RulesPart(ANSWER, grammar)
        case _ as never:
            assert_never(never)


def grammar_of_shape(shape: Shape) -> Grammar:
    """The grammar of an answer that is nothing but the shape."""
    return Grammar(f"start: @{ANSWER}\n", (answer_part(shape),), shape.field)


def _check(text: str, field: str, what: str, *, nested: bool = True) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_GRAMMAR_BYTES:
        raise GrammarInvalid(
            f"The {what} in {field} has {size:,} bytes; at most {MAX_GRAMMAR_BYTES:,} are taken.",
            param=field,
        )
    try:
        text.encode()
    except UnicodeEncodeError as failure:
        raise GrammarInvalid(
            f"The {what} in {field} has half of a surrogate pair, which is no text.", param=field
        ) from failure
    if nested:
        check_depth(text, field, what)


def _check_references(rules: str, field: str) -> None:
    """A client's grammar is one text: it refers to no other, and sets no options."""
    found = _FORBIDDEN.search(_STRINGS.sub('""', rules))
    if found:
        raise GrammarInvalid(
            f"The grammar in {field} uses {found[0].strip()!r}, which is not supported.",
            param=field,
            hint="Write all rules in the grammar itself.",
        )


_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*+"|/(?:[^/\\\n]|\\.)++/|//[^\n]*|#[^\n]*')
_FORBIDDEN = re.compile(r"%llguidance|@\w+|^\s*%import\s+(?!common\b)\S*", re.MULTILINE)
