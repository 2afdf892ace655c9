"""One file of a kept prefix: what its bytes mean, and that nothing damaged is ever taken for whole.

A record holds what was computed of consecutive tokens. It names the record that it follows, so that
conversations which begin alike share files, and one that goes on only adds some. Knows nothing of
folders and of budgets. Blocking; any thread.

    magic (8) | length of the head (4) | digest of the head (16) | head | payload

The head has the digest of the payload, and the file ends with the payload. Integers are little
endian.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from localserve.engine.prefixes import TokenArray

Payload = npt.NDArray[np.uint8]
"""The bytes of one part. Shape (size,)."""

MAGIC: Final = b"lsprefix"
VERSION: Final = 1
"""Of this layout; a part of every model's identity."""

KEY_BYTES: Final = 16
DIGEST_BYTES: Final = 16
MOST_HEAD_BYTES: Final = 16 << 20

_START = struct.Struct(f"<8sI{DIGEST_BYTES}s")
_HEAD = struct.Struct(f"<{KEY_BYTES}s{KEY_BYTES}s{DIGEST_BYTES}sIII")
_PART = struct.Struct("<IQ")


class Damaged(Exception):
    """The file is not what was written, or not of this model."""


@dataclass(frozen=True, slots=True)
class Part:
    """`size` bytes that stand for the first `length` tokens of a sequence."""

    length: int
    size: int


@dataclass(frozen=True, eq=False)
class Record:
    """The tokens from `start` on, behind all those of the record `parent`.

    The first of the `parts` is what was computed of all its tokens; further ones, which only
    sequences have that cannot be cut anywhere, are checkpoints of shorter beginnings. `tokens` has
    the shape (end - start,).
    """

    parent: bytes
    start: int
    tokens: TokenArray
    parts: tuple[Part, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    @property
    def size_bytes(self) -> int:
        """What the parts take together."""
        return sum(part.size for part in self.parts)

    @property
    def file_bytes(self) -> int:
        """What the file takes."""
        head = _HEAD.size + len(self.parts) * _PART.size + 4 * len(self.tokens)
        return _START.size + head + self.size_bytes

    @cached_property
    def key(self) -> bytes:
        """Names the file: two records of one key stand for the same tokens behind the same ones."""
        return key_of(self.parent, self.tokens)


def root_key(namespace: bytes, scope: str) -> bytes:
    """The parent of all records of a scope that begin at the first token; tells nothing of it."""
    return _digest(b"scope", namespace, scope.encode("utf-8", "surrogatepass"))


def key_of(parent: bytes, tokens: TokenArray) -> bytes:
    """The key of a record that holds `tokens` behind those of `parent`."""
    return _digest(b"tokens", parent, tokens.astype("<i4").tobytes())


def write_record(
    stream: io.BufferedIOBase, namespace: bytes, record: Record, payloads: Sequence[Payload]
) -> None:
    """Write one file. `namespace` says of which model, and how it is run."""
    assert [part.size for part in record.parts] == [len(payload) for payload in payloads]
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for payload in payloads:
        digest.update(payload.data)
    head = b"".join(
        [
            _HEAD.pack(
                namespace,
                record.parent,
                digest.digest(),
                record.start,
                len(record.tokens),
                len(record.parts),
            ),
            *(_PART.pack(part.length, part.size) for part in record.parts),
            record.tokens.astype("<i4").tobytes(),
        ]
    )
    stream.write(_START.pack(MAGIC, len(head), _digest(head)))
    stream.write(head)
    for payload in payloads:
        stream.write(payload.data)


def read_record(stream: io.BufferedIOBase, namespace: bytes) -> Record:
    """What a file holds; its payload is not looked at, but it has the right length.

    Raises: Damaged.
    """
    return _read_head(stream, namespace)[0]


def read_payloads(stream: io.BufferedIOBase, namespace: bytes, record: Record) -> list[Payload]:
    """The parts of a record, all of whose bytes are those that were written.

    Raises: Damaged, where they are not, or where the file has become that of another record.
    """
    found, digest = _read_head(stream, namespace)
    if found.key != record.key or found.parts != record.parts:
        raise Damaged("it is another record by now")
    payload = np.empty(found.size_bytes, dtype=np.uint8)
    _read_into(stream, payload)
    if hashlib.blake2b(payload.data, digest_size=DIGEST_BYTES).digest() != digest:
        raise Damaged("its checksum is wrong")
    ends = np.cumsum([part.size for part in found.parts])[:-1]
    return np.split(payload, ends)


def _read_head(stream: io.BufferedIOBase, namespace: bytes) -> tuple[Record, bytes]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    magic, length, digest = _START.unpack(_read(stream, _START.size))
    if magic != MAGIC:
        raise Damaged("it is no kept prefix")
    if not _HEAD.size <= length <= min(MOST_HEAD_BYTES, size - _START.size):
        raise Damaged("it is cut off")
    head = _read(stream, length)
    if _digest(head) != digest:
        raise Damaged("the checksum of its head is wrong")
    record, payload_digest = _parse(head, namespace)
    if _START.size + length + record.size_bytes != size:
        raise Damaged("it has not the length that it should have")
    return record, payload_digest


def _parse(head: bytes, namespace: bytes) -> tuple[Record, bytes]:
    owner, parent, digest, start, count, parts = _HEAD.unpack_from(head)
    if owner != namespace:
        raise Damaged("it is of another model, or of another version")
    tokens_at = _HEAD.size + parts * _PART.size
    if not parts or not count or len(head) != tokens_at + 4 * count:
        raise Damaged("its head contradicts itself")
    table = [
        Part(*_PART.unpack_from(head, _HEAD.size + number * _PART.size)) for number in range(parts)
    ]
    tokens = np.frombuffer(head, "<i4", count, tokens_at).astype(np.int32)
    return Record(parent, start, tokens, tuple(table)), digest


def _read(stream: io.BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise Damaged("it is cut off")
    return data


def _read_into(stream: io.BufferedIOBase, target: Payload) -> None:
    view, at = target.data, 0
    while at < len(view):
        count = stream.readinto(view[at:])
        if not count:
            raise Damaged("it is cut off")
        at += count


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
