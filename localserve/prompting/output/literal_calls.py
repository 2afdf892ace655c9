"""Reads calls that look like code, `name(key=value, ...)` or `name{key:value}`, as JSON. Pure.

Values may be literals of Python or JSON, in any mixture; they are rewritten as they come, and the
depth of nesting is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from localserve.prompting.output.call_sink import CallSink, ObjectWriter, escape
from localserve.prompting.output.format import LiteralCalls
from localserve.prompting.output.json_calls import is_name
from localserve.prompting.output.reader import Markers, Reader, Reading, Sink

DEEPEST = 64

_COMMAS = re.compile(r"[\s,]*")
_NAME = re.compile(r"[\w.\-/:]*")
_KEY = re.compile(r"""[^\s=:,(){}\[\]"'<]*""")
_WORD = re.compile(r"[-+.\w]*")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def read_literal_calls(reader: Reader, form: LiteralCalls, sink: CallSink) -> Reading[bool]:
    """Calls one after another, in brackets or not."""
    begun = False
    in_list = (yield from reader.peek()) == "["
    if in_list:
        reader.take(1)
    while True:
        yield from reader.read_while(_COMMAS, _drop)
        if not (yield from _read_call(reader, form, sink)):
            break
        begun = True
        if not in_list:
            break
    if in_list and (yield from reader.peek()) == "]":
        reader.take(1)
    return begun


def _read_call(reader: Reader, form: LiteralCalls, sink: CallSink) -> Reading[bool]:
    parts: list[str] = []
    yield from reader.read_while(_NAME, parts.append)
    name = "".join(parts)
    if not is_name(name) or not (yield from reader.accept(form.arguments.open)):
        return False
    sink.begin(name)
    arguments = ObjectWriter(sink)
    values = _Values(reader, form)
    while True:
        yield from reader.read_while(_COMMAS, _drop)
        if (yield from reader.accept(form.arguments.close)):
            break
        key = yield from values.key()
        yield from reader.spaces()
        if not key or not (yield from reader.accept(form.assign)):
            break
        arguments.key(key)
        yield from reader.spaces()
        if not (yield from values.write(sink.arguments)):
            break
    arguments.close()
    return True


class _Values:
    """Rewrites values as JSON."""

    def __init__(self, reader: Reader, form: LiteralCalls) -> None:
        self._reader = reader
        self._quote = form.quote

    def key(self) -> Reading[str]:
        """A bare or quoted key; empty if there is none."""
        parts: list[str] = []
        if not (yield from self._string(parts.append)):
            yield from self._reader.read_while(_KEY, parts.append)
        return "".join(parts)

    def write(self, sink: Sink, depth: int = 0) -> Reading[bool]:
        """One value; False if it breaks off."""
        mark = yield from self._reader.peek()
        if mark in ("{", "[", "("):
            return depth < DEEPEST and (yield from self._members(sink, depth))
        opened: list[str] = []

        def open_then(text: str) -> None:
            if not opened:
                opened.append('"')
                sink('"')
            sink(escape(text))

        if (yield from self._string(open_then)):
            sink('"' if opened else '""')
            return True
        parts: list[str] = []
        yield from self._reader.read_while(_WORD, parts.append)
        word = "".join(parts)
        if not word:
            return False
        sink(_literal(word))
        return True

    def _members(self, sink: Sink, depth: int) -> Reading[bool]:
        is_object = self._reader.take(1) == "{"
        sink("{" if is_object else "[")
        complete = False
        first = True
        while True:
            yield from self._reader.read_while(_COMMAS, _drop)
            if (yield from self._reader.peek()) in ("}", "]", ")"):
                self._reader.take(1)
                complete = True
                break
            sink("" if first else ", ")
            first = False
            if is_object and not (yield from self._member_key(sink)):
                break
            if not (yield from self.write(sink, depth + 1)):
                break
        sink("}" if is_object else "]")
        return complete

    def _member_key(self, sink: Sink) -> Reading[bool]:
        key = yield from self.key()
        yield from self._reader.spaces()
        if (yield from self._reader.peek()) not in (":", "="):
            return False
        self._reader.take(1)
        yield from self._reader.spaces()
        sink(json.dumps(key, ensure_ascii=False) + ": ")
        return True

    def _string(self, sink: Callable[[str], None]) -> Reading[bool]:
        """A string's text; False if none begins here."""
        if self._quote and (yield from self._reader.accept(self._quote)):
            yield from self._reader.until(Markers([self._quote]), sink)
            return True
        mark = yield from self._reader.peek()
        if mark not in ('"', "'"):
            return False
        self._reader.take(1)
        plain = re.compile(rf"[^\\{mark}]*")
        while True:
            yield from self._reader.read_while(plain, sink)
            sign = yield from self._reader.peek()
            if sign == "\\":
                sink((yield from self._escaped()))
                continue
            self._reader.take(1)
            return True

    def _escaped(self) -> Reading[str]:
        sign = (yield from self._reader.peek(2))[1:]
        self._reader.take(2)
        if sign not in _HEX_DIGITS:
            return _ESCAPES.get(sign, sign)
        digits = yield from self._reader.peek(_HEX_DIGITS[sign])
        try:
            character = chr(int(digits, 16))
        except (ValueError, OverflowError):
            return "\\" + sign
        self._reader.take(len(digits))
        return character


def _literal(word: str) -> str:
    word = _WORDS.get(word, word)
    try:
        json.loads(word)
    except ValueError:
        return json.dumps(word, ensure_ascii=False)
    return word


def _drop(text: str) -> None:
    pass
