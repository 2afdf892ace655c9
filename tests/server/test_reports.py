"""What crosses from the worker to its supervisor."""

from __future__ import annotations

import logging

import pytest

from localserve.backends.base import ModelFacts
from localserve.server.reports import (
    Aborting,
    Answered,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
    Report,
    decode,
    encode,
)

FACTS = ModelFacts(
    name="m",
    aliases=("a", "b"),
    architecture="llama",
    context_tokens=8,
    trained_context_tokens=16,
    parallel=2,
    vocabulary_size=3,
    embedding_length=4,
    parameters=5,
    weights_bytes=6,
    created=7,
    fills_middle=True,
    device="CPU",
    file="/m.gguf",
)


@pytest.mark.parametrize(
    "report",
    [
        Live(),
        LoadProgress("m", 0.5),
        Loaded(FACTS, 1.5, 100),
        LoadFailed("what", "hint"),
        Answered("GET / 200"),
        Note(logging.WARNING, "two\nlines, ünïcode"),
        Aborting("assertion"),
    ],
)
def test_a_report_survives_the_crossing_in_one_line(report: Report) -> None:
    line = encode(report)
    assert line.count(b"\n") == 1
    assert decode(line) == report


@pytest.mark.parametrize(
    "line", [b"", b"stray text\n", b"{}\n", b'{"kind":"Nothing"}\n', b'{"kind":"Note"}\n', b"[1]\n"]
)
def test_a_line_that_is_no_report_becomes_a_note(line: bytes) -> None:
    note = decode(line)
    assert isinstance(note, Note)
    assert note.text == line.decode().rstrip()
