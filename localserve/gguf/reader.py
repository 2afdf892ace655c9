"""A bounded walk over the beginning of a file that is fetched piece by piece.

Fetches in order and in growing pieces, so that a header of any usual size takes a handful of reads.
Knows nothing of what the bytes mean. Any thread, one at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from localserve.errors import ModelMalformed

Read = Callable[[int, int], bytes]
"""`read(offset, length)`: the bytes there, fewer only at the file's end. May raise OSError or what
its own medium raises; that passes through."""

FIRST_FETCH_BYTES: Final = 1 << 20
LARGEST_FETCH_BYTES: Final = 16 << 20
MAX_HEADER_BYTES: Final = 128 << 20
"""Real headers take 1 to 20 MB, nearly all of it the vocabulary."""

DOWNLOAD_AGAIN: Final = "Download the file again."


class Walk:
    """A position in the header; every step is checked against what is there.

    `size_bytes` is the size of the whole file, None where nobody knows it.
    """

    def __init__(self, read: Read, size_bytes: int | None, name: str) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.position = 0
        self.buffer = bytearray()
        self._read = read
        self._next_fetch = FIRST_FETCH_BYTES

    def malformed(self, problem: str, *, hint: str = DOWNLOAD_AGAIN) -> ModelMalformed:
        """The error that says so."""
        return ModelMalformed(f"{self.name}: {problem}", hint=hint)

    def need(self, end: int, what: str) -> None:
        """Make the bytes up to `end` available. Raises: ModelMalformed, where there are none."""
        if end <= len(self.buffer):
            return
        if end > MAX_HEADER_BYTES:
            raise self.malformed(
                f"the header goes on past {MAX_HEADER_BYTES} bytes ({what} at byte"
                f" {self.position} ends at {end}); real ones take a few million."
            )
        if self.size_bytes is not None and end > self.size_bytes:
            raise self._cut(end, self.size_bytes, what)
        while end > len(self.buffer):
            self._fetch(end, what)

    def unpack(self, form: struct.Struct, what: str) -> int:
        """One whole number of that form; moves past it."""
        end = self.position + form.size
        self.need(end, what)
        value = form.unpack_from(self.buffer, self.position)[0]
        self.position = end
        assert isinstance(value, int)
        return value

    def take(self, length: int, what: str) -> bytes:
        """The next `length` bytes; moves past them."""
        end = self.position + length
        self.need(end, what)
        taken = bytes(self.buffer[self.position : end])
        self.position = end
        return taken

    def left(self) -> int:
        """The bytes of the file that may still be part of the header."""
        end = MAX_HEADER_BYTES if self.size_bytes is None else self.size_bytes
        return min(end, MAX_HEADER_BYTES) - self.position

    def _fetch(self, end: int, what: str) -> None:
        start = len(self.buffer)
        length = max(self._next_fetch, end - start)
        if self.size_bytes is not None:
            length = min(length, self.size_bytes - start)
        piece = self._read(start, min(length, MAX_HEADER_BYTES - start))
        self._next_fetch = min(2 * self._next_fetch, LARGEST_FETCH_BYTES)
        if not piece:
            raise self._cut(end, start, what)
        self.buffer += piece

    def _cut(self, end: int, size: int, what: str) -> ModelMalformed:
        return self.malformed(
            f"the file is cut off: it has {size} bytes, and {what} at byte {self.position} ends at"
            f" byte {end}; at least {end - size} bytes are missing."
        )
