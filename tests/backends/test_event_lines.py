"""Server-sent events, cut anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.backends import event_lines
from localserve.backends.event_lines import event_data
from localserve.errors import EngineFailed


async def pieces_of(text: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]


@given(st.lists(st.integers(1, 9), max_size=40))
async def test_the_data_is_the_same_wherever_the_stream_is_cut(sizes: list[int]) -> None:
    text = (
        b': hello\r\n\r\ndata: {"a": 1}\n\nevent: x\ndata:{"b":"\xc3\xa9"}\r\n\r\ndata: [DONE]\n\n'
    )
    found = [one async for one in event_data(pieces_of(text, sizes))]
    assert found == [b'{"a": 1}', b'{"b":"\xc3\xa9"}', b"[DONE]"]


async def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_lines, "MAX_LINE_BYTES", 100)
    with pytest.raises(EngineFailed, match="a line of more than"):
        [one async for one in event_data(pieces_of(b"data: " + b"x" * 1000, [50] * 10))]
