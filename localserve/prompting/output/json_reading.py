"""Reading JSON as it arrives: whole strings, and values that are passed on as they stand.

Nothing recurses, so depth costs nothing, and every character is looked at once. Pure.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from localserve.prompting.output.reader import Reader, Reading, Sink

LONGEST_WORD = 4096
"""How long a name, key or id may be, in characters."""

_INSIDE_STRING = re.compile(r'[^"\\]*')
_BETWEEN = re.compile(r'[^"{}\[\]<]*')
_SCALAR = re.compile(r"[-+.\w]*")


def is_json(text: str) -> bool:
    """Whether a text is one JSON value; Python's NaN and infinities are none."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def read_string(reader: Reader) -> Reading[str | None]:
    """A JSON string, decoded; None if there is none or it is as long as no word is."""
    parts: list[str] = []
    if (yield from reader.peek()) != '"':
        return None
    if not (yield from copy_string(reader, parts.append)):
        return None
    text = "".join(parts)
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def copy_string(reader: Reader, sink: Sink) -> Reading[bool]:
    """Pass a string on with its quotes; False if it does not end."""
    sink(reader.take(1))
    while True:
        yield from reader.read_while(_INSIDE_STRING, sink)
        mark = yield from reader.peek()
        if mark == "\\":
            if len((yield from reader.peek(2))) < 2:
                return False
            sink(reader.take(2))
        elif mark:
            sink(reader.take(1))
            return True
        else:
            return False


def copy_value(reader: Reader, sink: Sink) -> Reading[bool]:
    """Pass one JSON value on as it stands; False if it is none or does not end."""
    first = yield from reader.peek()
    if first == '"':
        return (yield from copy_string(reader, sink))
    if first not in ("{", "["):
        parts: list[str] = []
        yield from reader.read_while(_SCALAR, parts.append)
        sink("".join(parts))
        return any(parts)
    depth = 0
    while True:
        yield from reader.read_while(_BETWEEN, sink)
        mark = yield from reader.peek()
        if mark == '"':
            if not (yield from copy_string(reader, sink)):
                return False
            continue
        if mark in ("", "<"):  # outside of strings JSON has no such sign: a marker follows
            return False
        sink(reader.take(1))
        depth += 1 if mark in "{[" else -1
        if depth == 0:
            return True
