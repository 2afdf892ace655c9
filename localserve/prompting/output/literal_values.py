"""Values as code writes them, literals of Python or JSON in any mixture, rewritten as JSON.

Rewritten as they come, with the depth of nesting bounded. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from localserve.prompting.output.call_sink import escape
from localserve.prompting.output.json_reading import is_json
from localserve.prompting.output.reader import Markers, Reader, Reading, Sink, read_at_once

DEEPEST = 64

_COMMAS = re.compile(r"[\s,]*")
_KEY = re.compile(r"""[^\s=:,(){}\[\]"'<]*""")
_WORD = re.compile(r"[-+.\w]*")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def literal_as_json(text: str) -> str | None:
    """A list or dictionary as Python prints it, as JSON; None where it is none."""
    reader = Reader()
    reader.feed(text.strip())
    reader.ended = True
    parts: list[str] = []
    complete = read_at_once(LiteralValues(reader).write(parts.append))
    return "".join(parts) if complete and reader.exhausted else None


class LiteralValues:
    """Rewrites values as JSON. Strings may also stand between two `quote` markers, with nothing
    escaped in them."""

    def __init__(self, reader: Reader, quote: str = "") -> None:
        self._reader = reader
        self._quote = quote

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
    return word if is_json(word) else json.dumps(word, ensure_ascii=False)


def _drop(text: str) -> None:
    pass
