"""Whatever the bytes are: a header or an error of the tree, and no byte is read twice."""

from __future__ import annotations

import functools
import struct
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.errors import ModelUnusable
from localserve.gguf.facts import merge_files
from localserve.gguf.header import parse
from localserve.gguf.loadable import check_loadable
from tests.gguf.small_models import SMALL_MODELS, write_small_model

EXTREMES = [0, 1, 2, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]


@functools.cache
def _real(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        content = write_small_model(Path(folder) / "m.gguf", SMALL_MODELS[name]).read_bytes()
    header = parse(lambda offset, length: content[offset : offset + length], len(content), name)
    return content[: header.data_offset]


def _read_all(content: bytes, size: int | None) -> None:
    """Everything that is done to an untrusted file; only errors of the tree may come of it."""
    read_bytes = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal read_bytes
        piece = content[offset : offset + length]
        read_bytes += len(piece)
        return piece

    refusal: ModelUnusable | None = None
    try:
        check_loadable(merge_files([parse(read, size, "fuzzed.gguf")]))
    except ModelUnusable as error:
        refusal = error
    if refusal is not None:
        assert refusal.message.startswith("fuzzed.gguf")
        assert "\n" not in refusal.message
        assert refusal.hint
    assert read_bytes <= len(content)


_names = st.sampled_from(["llama", "deepseek2", "jamba", "gemma3", "qwen3next"])
_position = st.integers(0, 1 << 14)


@settings(max_examples=150, deadline=None)
@given(_names, st.lists(st.tuples(_position, st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(name: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(_real(name))
    for position, value in changes:
        content[position % len(content)] = value
    _read_all(bytes(content), len(content) + (1 << 22))


@settings(max_examples=150, deadline=None)
@given(_names, _position, st.sampled_from(EXTREMES), st.sampled_from(["<I", "<Q"]))
def test_extreme_numbers(name: str, position: int, value: int, form: str) -> None:
    content = bytearray(_real(name))
    number = struct.pack(form, value % (1 << (8 * struct.calcsize(form))))
    position %= len(content) - len(number)
    content[position : position + len(number)] = number
    _read_all(bytes(content), len(content) + (1 << 22))


@settings(max_examples=100, deadline=None)
@given(_names, _position, _position, st.booleans())
def test_pieces_cut_out_or_doubled(name: str, start: int, length: int, doubled: bool) -> None:
    content = _real(name)
    start %= len(content)
    piece = content[start : start + length % 64]
    middle = piece * 2 if doubled else b""
    changed = content[:start] + middle + content[start + len(piece) :]
    _read_all(changed, None)


@settings(max_examples=100, deadline=None)
@given(_names, _position, st.booleans())
def test_files_cut_anywhere(name: str, length: int, size_is_known: bool) -> None:
    content = _real(name)[: length % len(_real(name))]
    _read_all(content, len(content) if size_is_known else None)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_noise(noise: bytes, like_gguf: bool) -> None:
    content = b"GGUF" + struct.pack("<I", 3) + noise if like_gguf else noise
    _read_all(content, len(content))
