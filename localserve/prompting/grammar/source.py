"""A grammar as it is given to llguidance: rules in its variant of Lark, and named parts. Pure.

Source: llguidance's docs/syntax.md, and `TopLevelGrammar` of its api.rs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

OPTIONS = '%llguidance {"no_forcing": true}\n'
"""A mask has every token that may come next, not only those that the tokenizer would choose."""


@dataclass(frozen=True, slots=True)
class SchemaPart:
    """A JSON schema that rules refer to as `@name`."""

    name: str
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RulesPart:
    """Rules of their own, with their own `start`, that other rules refer to as `@name`."""

    name: str
    rules: str


Part = SchemaPart | RulesPart


@dataclass(frozen=True, slots=True)
class Grammar:
    """`field` is the request's field that is to be named where the grammar is at fault."""

    rules: str
    parts: tuple[Part, ...] = ()
    field: str = ""

    def text(self) -> str:
        """What llguidance takes; equal texts are equal grammars."""
        parts = [_part(part) for part in self.parts]
        return json.dumps({"grammars": [{"lark_grammar": OPTIONS + self.rules}, *parts]})


def _part(part: Part) -> dict[str, object]:
    if isinstance(part, SchemaPart):
        return {"name": part.name, "json_schema": part.schema}
    return {"name": part.name, "lark_grammar": OPTIONS + part.rules}


def literal(text: str) -> str:
    """A text as Lark writes it between quotes."""
    return json.dumps(text, ensure_ascii=False)


def between_slashes(pattern: str) -> str:
    """A regular expression as Lark writes it; line breaks and slashes in it are escaped."""
    return f"/{_UNESCAPED.sub(_escape_slash, pattern)}/"


_UNESCAPED = re.compile(r"\\.|[/\n\r\t]", re.DOTALL)
_SHORT = {"/": "\\/", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape_slash(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) == 2 and text[1] in _SHORT:
        return _SHORT[text[1]]  # a backslash before the sign itself
    return _SHORT.get(text, text)
