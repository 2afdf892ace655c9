"""Reads calls whose arguments are JSON: whole objects, or a name with an object behind it. Pure.

A reading gives False if no call was begun; what it read is no call then.
"""

from __future__ import annotations

import json
import re

from localserve.prompting.output.call_sink import CallSink
from localserve.prompting.output.format import JsonCalls, NamedCalls
from localserve.prompting.output.json_reading import (
    LONGEST_WORD,
    copy_value,
    read_string,
)
from localserve.prompting.output.reader import Markers, Reader, Reading

_COMMAS = re.compile(r"[\s,]*")
_NAME = re.compile(r"[^\s<>\[\]{}()|\"'=,]+")
_NAME_IN_ID = re.compile(r"(?:functions\.)?(?P<name>.+?)(?::\d+)?")
_HEAD_CHARACTERS = 1 << 15
"""How much may come before a name."""


def is_name(text: str) -> bool:
    """Whether a tool could have this name."""
    return len(text) <= LONGEST_WORD and _NAME.fullmatch(text) is not None


def read_json_calls(
    reader: Reader, form: JsonCalls, sink: CallSink, *, offered_only: bool = False
) -> Reading[bool]:
    """Objects, or one list of them. With `offered_only` the first must be a call of a tool."""
    begun = False
    in_list = (yield from reader.peek()) == "["
    if in_list:
        reader.take(1)
    while True:
        yield from reader.read_while(_COMMAS, _drop)
        mark = yield from reader.peek()
        if mark != "{":
            break
        call = _CallObject(reader, form, sink, offered_only and not begun)
        if not (yield from call.read()):
            return begun
        begun = True
    if in_list and mark == "]":
        reader.take(1)
    return begun


class _CallObject:
    """One object that should be a call."""

    def __init__(self, reader: Reader, form: JsonCalls, sink: CallSink, offered_only: bool) -> None:
        self._reader = reader
        self._form = form
        self._sink = sink
        self._offered_only = offered_only
        self._name: str | None = None
        self._id: str | None = None
        self._held: list[str] | None = None
        self._begun = False
        self._written = False
        self._complete = False

    def read(self) -> Reading[bool]:
        yield from self._members()
        if self._name is None or not (self._begun or self._complete):
            return False
        self._begin()
        if not self._written and (self._complete or self._held):
            self._sink.arguments("".join(self._held or ["{}"]))
        return True

    def _members(self) -> Reading[None]:
        self._reader.take(1)
        while True:
            yield from self._reader.read_while(_COMMAS, _drop)
            if (yield from self._reader.peek()) == "}":
                self._reader.take(1)
                self._complete = True
                return
            key = yield from read_string(self._reader)
            yield from self._reader.spaces()
            if key is None or (yield from self._reader.peek()) != ":":
                return
            self._reader.take(1)
            yield from self._reader.spaces()
            if not (yield from self._member(key)):
                return

    def _member(self, key: str) -> Reading[bool]:
        form = self._form
        if form.named_by_key and self._name is None:
            if not self._take_name(key):
                return False
            return (yield from self._arguments())
        if key in form.name_keys and self._name is None:
            name = yield from read_string(self._reader)
            return name is not None and self._take_name(name)
        if key in form.id_keys and not self._begun:
            parts: list[str] = []
            complete = yield from copy_value(self._reader, parts.append)
            self._id = _plain("".join(parts))
            if self._name is not None:
                self._begin()
            return complete
        if key in form.arguments_keys and self._held is None and not self._written:
            return (yield from self._arguments())
        if key == "function" and self._name is None:
            yield from self._nested()
            return self._complete
        return (yield from copy_value(self._reader, _drop))

    def _nested(self) -> Reading[None]:
        """`{"type": "function", "function": {...}}`, or the name under `function`."""
        if (yield from self._reader.peek()) == "{":
            yield from self._members()
            return
        name = yield from read_string(self._reader)
        self._complete = name is not None and self._take_name(name)

    def _take_name(self, name: str) -> bool:
        if not is_name(name) or (self._offered_only and name not in self._sink.tools):
            return False
        self._name = name
        if not self._form.id_late and self._held is None:
            self._begin()
        return True

    def _arguments(self) -> Reading[bool]:
        if not self._begun or (yield from self._reader.peek()) == '"':
            self._held = []
            complete = yield from copy_value(self._reader, self._held.append)
            self._held = [_decoded("".join(self._held))]
            return complete
        self._written = True
        return (yield from copy_value(self._reader, self._sink.arguments))

    def _begin(self) -> None:
        assert self._name is not None
        if not self._begun:
            self._begun = True
            self._sink.begin(self._name, self._id)


def read_named_call(
    reader: Reader, form: NamedCalls, sink: CallSink, *, offered_only: bool = False
) -> Reading[bool]:
    """`NAME marks {...}`."""
    head: list[str] = []
    if not (yield from _read_head(reader, form, head)):
        return False
    name, id = _name_and_id("".join(head), form)
    if not is_name(name) or (offered_only and name not in sink.tools):
        return False
    sink.begin(name, id)
    yield from copy_value(reader, sink.arguments)
    return True


def _read_head(reader: Reader, form: NamedCalls, head: list[str]) -> Reading[bool]:
    """All before the arguments; whether the arguments follow."""
    if not form.name_end:
        parts: list[str] = []
        yield from reader.read_while(_BEFORE_OBJECT, parts.append)
        head += parts
        return len("".join(parts)) <= _HEAD_CHARACTERS and (yield from reader.peek()) == "{"
    if (yield from reader.until(Markers([form.name_end]), head.append)) is None:
        return False
    yield from reader.spaces()
    return (yield from reader.peek()) in ("{", "[")


def _name_and_id(head: str, form: NamedCalls) -> tuple[str, str | None]:
    head = head.strip()
    if form.name_in_id:
        found = _NAME_IN_ID.fullmatch(head)
        return (found["name"], head) if found else (head, None)
    if form.id_mark and form.id_mark in head:
        first, _, second = (part.strip() for part in head.partition(form.id_mark))
        return (second, first) if form.id_first else (first, second)
    return head, None


def _plain(value: str) -> str | None:
    """An id, which may be a number or null."""
    try:
        decoded = json.loads(value)
    except ValueError:
        return None
    return decoded if isinstance(decoded, str) and decoded else value if value != "null" else None


def _decoded(arguments: str) -> str:
    """Arguments that are a JSON text within a string are that text."""
    if not arguments.startswith('"'):
        return arguments
    try:
        inner = json.loads(arguments, strict=False)
        json.loads(inner)
    except (ValueError, RecursionError):
        return arguments
    return str(inner)


def _drop(text: str) -> None:
    pass


_BEFORE_OBJECT = re.compile(r"[^{<]*")
