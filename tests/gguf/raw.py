"""Builds GGUF files byte by byte, right or wrong on purpose."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from localserve.gguf.header import Header, parse

U32, U64, STRING, ARRAY, F32, BOOL, I32, U8 = 4, 10, 8, 9, 6, 7, 5, 0
_FORMS = {U32: "<I", U64: "<Q", F32: "<f", BOOL: "<?", I32: "<i", U8: "<B"}


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def key(name: str | bytes, kind: int, payload: bytes) -> bytes:
    """One key with its value's bytes."""
    return text(name) + struct.pack("<I", kind) + payload


def pair(name: str, kind: int, value: object) -> bytes:
    """One key with a scalar value."""
    if kind == STRING:
        assert isinstance(value, str | bytes)
        return key(name, kind, text(value))
    return key(name, kind, struct.pack(_FORMS[kind], value))


def array(name: str, kind: int, payload: bytes, length: int) -> bytes:
    """One key with an array of that many elements."""
    return key(name, ARRAY, struct.pack("<IQ", kind, length) + payload)


def strings(name: str, values: list[str]) -> bytes:
    return array(name, STRING, b"".join(map(text, values)), len(values))


def tensor(
    name: str | bytes,
    shape: tuple[int, ...],
    kind: int = 0,
    offset: int = 0,
    dims: int | None = None,
) -> bytes:
    """One tensor's description."""
    count = len(shape) if dims is None else dims
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return text(name) + struct.pack("<I", count) + sizes + struct.pack("<IQ", kind, offset)


@dataclass
class Raw:
    """The parts of a file; `bytes()` of them in order is the file."""

    keys: list[bytes] = field(
        default_factory=lambda: [pair("general.architecture", STRING, "llama")]
    )
    tensors: list[bytes] = field(default_factory=lambda: [tensor("a", (8, 4))])
    data_bytes: int = 128
    magic: bytes = b"GGUF"
    version: int = 3
    key_count: int | None = None
    tensor_count: int | None = None
    alignment: int = 32

    def build(self) -> bytes:
        keys = len(self.keys) if self.key_count is None else self.key_count
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        head = self.magic + struct.pack("<IQQ", self.version, tensors, keys)
        head += b"".join(self.keys) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment) + bytes(self.data_bytes)


def parse_bytes(content: bytes, *, size: int | None = -1, name: str = "made.gguf") -> Header:
    """Parse content as a file of that size; by default of its own, None for an unknown one."""
    return parse(
        lambda offset, length: content[offset : offset + length],
        len(content) if size == -1 else size,
        name,
    )
