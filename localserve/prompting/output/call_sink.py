"""Where the readers of calls put what they find. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from localserve.prompting.output.schema import Schema


class CallSink(Protocol):
    """Numbers calls and passes them on; what was put in is never taken back."""

    @property
    def tools(self) -> Mapping[str, Schema | None]:
        """The parameters of the offered tools by name."""
        ...

    def begin(self, name: str, id: str | None = None) -> None:
        """A further call."""
        ...

    def arguments(self, text: str) -> None:
        """More of the arguments' JSON text of the latest call."""
        ...


class ObjectWriter:
    """Writes arguments that come one by one as one JSON object."""

    def __init__(self, sink: CallSink) -> None:
        self._sink = sink
        self._count = 0

    def key(self, name: str) -> None:
        """Begin an argument; its value is written next, as JSON."""
        lead = "{" if self._count == 0 else ", "
        self._sink.arguments(f"{lead}{json.dumps(name, ensure_ascii=False)}: ")
        self._count += 1

    def close(self) -> None:
        self._sink.arguments("}" if self._count else "{}")


def escape(text: str) -> str:
    """Text as it stands between the quotes of a JSON string; lone surrogates as escapes."""
    return json.dumps(text, ensure_ascii=any("\ud800" <= sign <= "\udfff" for sign in text))[1:-1]
