"""JSON schemas as they are handed to llguidance: bounded, and with the project's own options. Pure.

A schema is untrusted. Whatever it asks for is enforced or refused by name; only llguidance's own
switches in it are dropped, with which a client could loosen what it demands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from localserve.errors import GrammarInvalid

MAX_SCHEMA_BYTES = 1 << 19
MAX_DEPTH = 64
"""Of nested braces and brackets; llguidance's parser has a limit of 128."""

BLANKS = r"( |\n[ ]{0,32})"
"""White space between the parts of JSON: weak models would else write it until their answer is cut
off. Source: vLLM #13260."""

OPTIONS: Mapping[str, object] = {"whitespace_pattern": BLANKS}

ANY_OBJECT: Mapping[str, object] = {"type": "object"}


def read_schema(text: str, field: str) -> Mapping[str, object]:
    """A schema from its JSON text. Raises: GrammarInvalid, naming `field`."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_SCHEMA_BYTES:
        raise GrammarInvalid(
            f"The schema in {field} has {size:,} bytes; at most {MAX_SCHEMA_BYTES:,} are taken.",
            param=field,
            hint="Send a smaller schema.",
        )
    check_depth(text, field, "schema")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise GrammarInvalid(
            f"The schema in {field} is not JSON: {failure}.", param=field
        ) from failure
    if schema is True:
        return with_options({})
    if not isinstance(schema, dict):
        raise GrammarInvalid(
            f"The schema in {field} is no JSON object.",
            param=field,
            hint='A schema looks like {"type": "object", "properties": {...}}.',
        )
    return with_options(schema)


def with_options(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The schema with the project's options in place of its own."""
    return {**schema, "x-guidance": OPTIONS}


def arguments_schema(parameters: Mapping[str, object] | None) -> Mapping[str, object]:
    """The schema of a tool's arguments, which are an object whatever it says."""
    if not parameters:
        return with_options(ANY_OBJECT)
    return with_options(parameters if "type" in parameters else {**parameters, **ANY_OBJECT})


def check_depth(text: str, field: str, what: str) -> None:
    """Raises: GrammarInvalid where brackets are nested deeper than any honest use needs."""
    depth = deepest = 0
    for mark in _MARKS.finditer(text):
        sign = mark[0][0]
        if sign in "{[(":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "}])":
            depth -= 1
    if deepest > MAX_DEPTH:
        raise GrammarInvalid(
            f"The {what} in {field} is nested {deepest} deep; at most {MAX_DEPTH} are taken.",
            param=field,
            hint="Use $defs and $ref to flatten it." if what == "schema" else "Name its parts.",
        )


_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"|\\.|[{}\[\]()]', re.DOTALL)
