"""Files that begin as GGUF files do, for tests that look no further than headers."""

from __future__ import annotations

import os
import struct
from pathlib import Path

Value = str | int | list[str] | list[int]


def gguf_bytes(
    keys: dict[str, Value] | None = None, *, tensors: int = 1, version: int = 3
) -> bytes:
    """A header with these keys (numbers as uint32) and no more."""
    keys = {"general.architecture": "llama", **(keys or {})}
    body = b"".join(_text(key) + _value(value) for key, value in keys.items())
    return b"GGUF" + struct.pack("<IQQ", version, tensors, len(keys)) + body


def write_gguf(
    path: Path, keys: dict[str, Value] | None = None, *, tensors: int = 1, written_at: float = 1e9
) -> Path:
    """Write a header to `path`, as if it had been written then (seconds since the epoch)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(keys, tensors=tensors))
    os.utime(path, (written_at, written_at))
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(str(one)) for one in value)
    return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
