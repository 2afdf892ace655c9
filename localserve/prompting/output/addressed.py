"""Reads answers that are made of messages with an addressee: the user, the model itself, a tool.

Pure. A message whose head is none is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from localserve.prompting.output.format import Addressed, NamedCalls, OutputFormat
from localserve.prompting.output.json_calls import is_name
from localserve.prompting.output.json_reading import copy_value
from localserve.prompting.output.output import Output
from localserve.prompting.output.reader import Markers, Reader, Reading

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"to=([^\s<|]+)")
_THOUGHT = frozenset({"analysis", "self"})
_SAID = frozenset({"user", "all", "assistant", "self", ""})


def read_messages(
    reader: Reader,
    format: OutputFormat,
    out: Output,
    with_tools: bool,
    read_calls: Callable[[Markers], Reading[str | None]],
) -> Reading[None]:
    """All messages. `read_calls` reads text with calls in it up to one of the given markers."""
    address = format.addressed
    assert address is not None
    messages = _Messages(reader, format, address, out, with_tools, read_calls)
    yield from messages.read()


class _Messages:
    def __init__(
        self,
        reader: Reader,
        format: OutputFormat,
        address: Addressed,
        out: Output,
        with_tools: bool,
        read_calls: Callable[[Markers], Reading[str | None]],
    ) -> None:
        self._reader = reader
        self._json = format.calls is None or isinstance(format.calls.form, NamedCalls)
        self._address = address
        self._out = out
        self._with_tools = with_tools
        self._read_calls = read_calls
        self._ends = Markers([*address.ends, *format.ends, address.start])

    def read(self) -> Reading[None]:
        started = ""
        while True:
            head = yield from self._head()
            if head is None:
                self._out.content(started)
                found = yield from self._reader.until(self._ends, self._out.content)
            else:
                found = yield from self._message(head, started)
            if found is None:
                return
            started = found if found == self._address.start else ""
            if not started:
                yield from self._reader.spaces()
                started = self._address.start
                yield from self._reader.accept(started)
                started = ""

    def _head(self) -> Reading[str | None]:
        """The next head, with its end read; None, and nothing read, where there is none."""
        address = self._address
        if address.recipient_mark:
            begins = (yield from self._reader.peek(len("<|channel|>"))).lstrip()
            if not begins.startswith(("<|channel|>", address.recipient_mark, address.head_end)):
                return None
        self._reader.begin_attempt()
        parts: list[str] = []
        stops = Markers([address.head_end, *address.ends, "\n"])
        found = yield from self._reader.until(stops, parts.append)
        head = "".join(parts)
        if found == address.head_end and self._is_head(head):
            self._reader.keep()
            return head
        self._reader.give_up()
        return None

    def _is_head(self, head: str) -> bool:
        if self._address.recipient_mark:
            return True
        return head.strip() == "all" or (self._with_tools and head.strip() in self._out.tools)

    def _message(self, head: str, started: str) -> Reading[str | None]:
        channels = _CHANNEL.findall(head)
        recipient = self._recipient(head)
        if recipient not in _SAID and self._with_tools:
            return (yield from self._call(recipient))
        if (channels and channels[-1] in _THOUGHT) or recipient in _THOUGHT:
            self._out.begin_reasoning(head + self._address.head_end)
            found = yield from self._reader.until(self._ends, self._out.reasoned)
            self._out.end_reasoning(found or "")
            return found
        self._out.trim()
        return (yield from self._reader.until(self._ends, self._out.content))

    def _recipient(self, head: str) -> str:
        if not self._address.recipient_mark:
            return head.strip()
        found = _RECIPIENT.search(head)
        return found[1] if found else ""

    def _call(self, recipient: str) -> Reading[str | None]:
        if not self._json:
            return (yield from self._read_calls(self._ends))
        name = recipient.removeprefix(self._address.tool_prefix)
        if not is_name(name):
            return (yield from self._reader.until(self._ends, self._out.content))
        self._out.begin(name)
        yield from self._reader.spaces()
        is_object = (yield from self._reader.peek()) == "{"
        if is_object and (yield from copy_value(self._reader, self._out.arguments)):
            return (yield from self._reader.until(self._ends, lambda _: None))
        return (yield from self._reader.until(self._ends, self._out.arguments))
