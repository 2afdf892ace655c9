"""Reads the header of one quantization with the help of another one's, whose vocabulary it shares.

Nearly all of a header is the vocabulary, and all quantizations of a model have the same. Where its
beginning, its length and its end agree with one that is known, what lies between is not fetched but
taken over; whoever parses the result must check that it makes a whole file. So all quantizations of
a repository take little more than the header of one. Knows nothing of HTTP. Blocking.
"""

from __future__ import annotations

from typing import Final

from localserve.catalog.ranges import RangeReader
from localserve.gguf.header import Header
from localserve.gguf.metadata import Array
from localserve.gguf.reader import Read

START_BYTES: Final = 128 << 10
"""What is fetched of a file's beginning: the keys before the vocabulary."""

_TAIL_BYTES: Final = 256 << 10
_PROBE_BYTES: Final = 4096
_MARK_BYTES: Final = 64
_LARGE_ARRAY_BYTES: Final = 64 << 10


def with_vocabulary_of(known: Header, reader: RangeReader) -> Read | None:
    """How to read the other file with less fetching; None where the vocabularies differ.

    `reader` has started. Raises: what it raises.
    """
    span = _vocabulary_span(known)
    if span is None or not reader.ranged:
        return None
    start, end = span
    mark = known.raw[start - _MARK_BYTES : start + _PROBE_BYTES]
    beginning = reader.read(0, START_BYTES)
    found = beginning.find(mark)
    if found < 0:
        return None
    own_start = found + _MARK_BYTES
    own_end = own_start + end - start
    tail = reader.read(own_end - _PROBE_BYTES, _PROBE_BYTES + _TAIL_BYTES)
    if tail[:_PROBE_BYTES] != known.raw[end - _PROBE_BYTES : end]:
        return None
    content = beginning[:own_start] + known.raw[start:end] + tail[_PROBE_BYTES:]

    def read(offset: int, length: int) -> bytes:
        if offset < len(content):
            return content[offset : offset + length]
        return reader.read(offset, length)

    return read


def makes_a_whole_file(header: Header) -> bool:
    """Whether the tensors end where the file does, give or take its padding."""
    last = header.tensors[-1] if header.tensors else None
    end = header.data_offset + (last.offset + last.size_bytes if last else 0)
    return 0 <= header.size_bytes - end < header.alignment


def _vocabulary_span(header: Header) -> tuple[int, int] | None:
    """From the first to the last large array's end; None where there is hardly anything."""
    large = [
        value
        for value in header.metadata.values()
        if isinstance(value, Array) and value.end - value.start >= _LARGE_ARRAY_BYTES
    ]
    if not large:
        return None
    return min(array.start for array in large), max(array.end for array in large)
