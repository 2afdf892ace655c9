"""Values that are tags again: `<a>1</a>` for `{"a": 1}`, `<item>` for members of a list. Pure."""

from __future__ import annotations

import json

from localserve.prompting.output.format import TaggedCalls
from localserve.prompting.output.json_reading import is_json
from localserve.prompting.output.reader import Markers, Reader, Reading, Sink

DEEPEST = 32


def nested_value(
    reader: Reader, form: TaggedCalls, types: frozenset[str], sink: Sink, depth: int = 0
) -> Reading[bool]:
    """Write the tags that follow as JSON, without the close around them; False if none follow."""
    opens = form.key_open
    closes = opens + "/"
    yield from reader.spaces()
    if (yield from reader.peek(len(closes))) == closes or depth == DEEPEST:
        return False
    if (yield from reader.peek(len(opens))) != opens:
        return False
    is_list: bool | None = None
    first = True
    while True:
        yield from reader.spaces()
        if (yield from reader.peek(len(closes))) == closes:
            break
        if not (yield from reader.accept(opens)):
            break
        parts: list[str] = []
        yield from reader.until(Markers([form.key_end]), parts.append)
        name = "".join(parts).strip()
        if is_list is None:
            is_list = name == "item" and types != {"object"}
            sink("[" if is_list else "{")
        sink("" if first else ", ")
        sink("" if is_list else json.dumps(name, ensure_ascii=False) + ": ")
        first = False
        close = Markers([form.value_close.replace("{key}", name)])
        if (yield from nested_value(reader, form, frozenset(), sink, depth + 1)):
            yield from reader.until(close, lambda _: None)
            continue
        value: list[str] = []
        yield from reader.until(close, value.append)
        sink(_scalar("".join(value)))
    sink("]" if is_list else "}")
    return True


def _scalar(text: str) -> str:
    return text if is_json(text) else json.dumps(text, ensure_ascii=False)
