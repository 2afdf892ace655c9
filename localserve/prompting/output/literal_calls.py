"""Reads calls that look like code, `name(key=value, ...)` or `name{key:value}`, as JSON. Pure.

Values are rewritten as they come.
"""

from __future__ import annotations

import re

from localserve.prompting.output.call_sink import CallSink, ObjectWriter
from localserve.prompting.output.format import LiteralCalls
from localserve.prompting.output.json_calls import is_name
from localserve.prompting.output.literal_values import LiteralValues
from localserve.prompting.output.reader import Reader, Reading

_COMMAS = re.compile(r"[\s,]*")
_NAME = re.compile(r"[\w.\-/:]*")


def read_literal_calls(
    reader: Reader, form: LiteralCalls, sink: CallSink, *, offered_only: bool = False
) -> Reading[bool]:
    """Calls one after another, in brackets or not.

    With `offered_only` they must be calls of tools, as must be those behind the first one outside
    of brackets: words with a bracket behind them are common in text.
    """
    in_list = (yield from reader.peek()) == "["
    if in_list:
        reader.take(1)
    yield from reader.spaces()
    if not (yield from _read_call(reader, form, sink, offered_only)):
        return False
    while True:
        reader.begin_attempt()
        yield from reader.read_while(_COMMAS, _drop)
        if in_list and (yield from reader.peek()) == "]":
            reader.take(1)
            break
        if not (yield from _read_call(reader, form, sink, offered_only or not in_list)):
            reader.give_up()
            break
    return True


def _read_call(
    reader: Reader, form: LiteralCalls, sink: CallSink, offered_only: bool
) -> Reading[bool]:
    parts: list[str] = []
    yield from reader.read_while(_NAME, parts.append)
    name = "".join(parts)
    if not is_name(name) or (offered_only and name not in sink.tools):
        return False
    if not (yield from reader.accept(form.arguments.open)):
        return False
    sink.begin(name)
    arguments = ObjectWriter(sink)
    values = LiteralValues(reader, form.quote)
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


def _drop(text: str) -> None:
    pass
