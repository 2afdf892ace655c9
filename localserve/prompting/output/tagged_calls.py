"""Reads calls whose arguments stand between tags, and writes them as JSON. Pure.

The values are no JSON: the tool's schema, or a mark in the tag, says which are strings. Strings are
passed on as they come.
"""

from __future__ import annotations

import json
import re

from localserve.prompting.output.call_sink import CallSink, ObjectWriter, escape
from localserve.prompting.output.format import TaggedCalls
from localserve.prompting.output.json_calls import is_name
from localserve.prompting.output.json_reading import LONGEST_WORD, is_json
from localserve.prompting.output.literal_values import literal_as_json
from localserve.prompting.output.openers import split_markers
from localserve.prompting.output.reader import Markers, Reader, Reading, Sink
from localserve.prompting.output.schema import argument_types
from localserve.prompting.output.tag_values import nested_value

_WORD = re.compile(r"""[^\s<>"'{}]*""")
_TAG_END = re.compile(r"(<[^<>]*>|>)\Z")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_CDATA = ("<![CDATA[", "]]>")


def read_tagged_call(
    reader: Reader, form: TaggedCalls, close: str, sink: CallSink
) -> Reading[bool]:
    """A call up to and with its `close`, from its name on."""
    parts: list[str] = []
    yield from reader.spaces()
    yield from reader.read_while(_WORD, parts.append)
    name = "".join(parts)
    if not is_name(name):
        return False
    if not (yield from _read_name_end(reader, form, close)):
        return False
    sink.begin(name)
    call = _TaggedCall(reader, form, close, name, sink)
    yield from call.read()
    return True


def _read_name_end(reader: Reader, form: TaggedCalls, close: str) -> Reading[bool]:
    """What ends the name's tag. Its attributes may differ from call to call."""
    if form.name_end:
        tail = _last_marker(form.name_end)
        dropped: list[str] = []
        found = yield from reader.until(Markers([tail, "\n", form.key_open]), dropped.append)
        return found == tail
    yield from reader.spaces()
    for marker in (form.key_open, close):
        if marker and (yield from reader.peek(len(marker))) == marker:
            return True
    return False


class _TaggedCall:
    """The arguments of one call."""

    def __init__(
        self, reader: Reader, form: TaggedCalls, close: str, name: str, sink: CallSink
    ) -> None:
        self._reader = reader
        self._form = form
        self._close = close
        self._parameters = sink.tools.get(name)
        self._sink = sink
        self._object = ObjectWriter(sink)

    def read(self) -> Reading[None]:
        """All arguments; the call ends where none follows."""
        while True:
            yield from self._reader.spaces()
            if self._close and (yield from self._reader.accept(self._close)):
                break
            if not (yield from self._reader.accept(self._form.key_open)):
                break
            if not (yield from self._argument()):
                break
        self._object.close()

    def _argument(self) -> Reading[bool]:
        head: list[str] = []
        first, *others = split_markers(self._form.key_end)
        if (yield from self._reader.until(Markers([first]), head.append)) is None:
            return False
        for marker in others:
            yield from self._reader.spaces()
            yield from self._reader.accept(marker)
        found = _WORD.match("".join(head).strip())
        key = found[0] if found else ""
        if not key or len(key) > LONGEST_WORD:
            return False
        tag = "".join(head)[len(key) :]
        self._object.key(key)
        yield from self._value(key, tag)
        return True

    def _value(self, key: str, tag: str) -> Reading[None]:
        form = self._form
        types = argument_types(self._parameters, key)
        if form.string_mark:
            types = frozenset({"string"} if form.string_mark in tag else {"object"})
        if form.lines and (yield from self._reader.peek()) == "\n":
            self._reader.take(1)
        close = Markers([form.value_close.replace("{key}", key)])
        nested = form.nested and "string" not in types
        if nested and (yield from nested_value(self._reader, form, types, self._sink.arguments)):
            yield from self._reader.until(close, lambda _: None)
            return
        wrapped = form.cdata and (yield from self._reader.accept(_CDATA[0]))
        if types == {"string"}:
            self._sink.arguments('"')
            writer = _LineHolder(lambda text: self._sink.arguments(escape(text)), form.lines)
            yield from self._raw(close, writer, wrapped)
            self._sink.arguments('"')
            return
        parts: list[str] = []
        yield from self._raw(close, _LineHolder(parts.append, form.lines), wrapped)
        self._sink.arguments(_converted("".join(parts), types))

    def _raw(self, close: Markers, writer: _LineHolder, wrapped: bool) -> Reading[None]:
        """A value up to its close: the first behind which an argument or the call's end follows."""
        if wrapped:
            yield from self._reader.until(Markers([_CDATA[1]]), writer.write)
            yield from self._reader.until(close, lambda _: None)
        else:
            while (found := (yield from self._reader.until(close, writer.write))) is not None:
                if (yield from self._closes(found)):
                    break
                writer.write(found)

    def _closes(self, found: str) -> Reading[bool]:
        self._reader.begin_attempt()
        yield from self._reader.spaces()
        ahead = [marker for marker in (self._form.key_open, self._close) if marker]
        follows = not (yield from self._reader.peek())
        for marker in ahead:
            follows = follows or (yield from self._reader.peek(len(marker))) == marker
        if follows or not self._close:
            self._reader.keep()
            return True
        self._reader.give_up()
        return False


class _LineHolder:
    """Passes a value on without the line break that precedes its close, if `lines`."""

    def __init__(self, sink: Sink, lines: bool) -> None:
        self._sink = sink
        self._lines = lines
        self._held = ""

    def write(self, text: str) -> None:
        text = self._held + text
        self._held = "\n" if self._lines and text.endswith("\n") else ""
        text = text.removesuffix("\n") if self._held else text
        if text:
            self._sink(text)


def _converted(text: str, types: frozenset[str]) -> str:
    """The JSON of a value that is perhaps no string."""
    stripped = text.strip()
    stripped = _PYTHON_WORDS.get(stripped, stripped)
    if is_json(stripped):
        return stripped
    literal = literal_as_json(stripped) if types and "string" not in types else None
    return literal or json.dumps(text, ensure_ascii=False)


def _last_marker(text: str) -> str:
    """What ends a tag for sure: attributes that come before it may vary."""
    found = _TAG_END.search(text)
    return found[0] if found else text
