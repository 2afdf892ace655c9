"""The first 64 KiB of a GGUF file -> whether it is a model at all.

Enough for a list of many files: adapters, projectors, importance matrices, bare vocabularies and
models that make vectors say what they are among their first keys. The bytes are untrusted; nothing
beyond them is read, and a file that says nothing within them counts as a model. Blocking disk
access; any thread.
Source: docs/gguf.md of ggml, for the layout and for `general.type`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import shard_of
from localserve.gguf.pooling import POOLINGS, Pooling

PEEKED_BYTES: Final = 1 << 16
VERSIONS: Final = (2, 3)

_SCALAR_BYTES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_COUNT: Final = 4
_STRING: Final = 8
_ARRAY: Final = 9

_NO_MODELS: Final = frozenset({"adapter", "imatrix", "mmproj", "projector", "vocab"})
"""Values of `general.type` of files that are no model of their own."""


@dataclass(frozen=True, slots=True)
class Peeked:
    """`problem` says why the file cannot be one of GGUF; the rest is empty then. `pooling` is how
    the model makes vectors, if the file says that it does."""

    is_model: bool = True
    architecture: str = ""
    problem: str = ""
    pooling: Pooling | None = None


def peek(path: Path) -> Peeked:
    """Look at the beginning of a file. A file that cannot be read has a `problem`."""
    try:
        with path.open("rb") as stream:
            start = stream.read(PEEKED_BYTES)
    except OSError as error:
        return Peeked(problem=f"it cannot be read: {error.strerror or error}")
    if not start:
        return Peeked(problem="it is empty")
    if start.startswith(b"version https://git-lfs"):
        return Peeked(problem="it is a pointer of git-lfs, not the model")
    if start[:4] != b"GGUF" or len(start) < 24:
        return Peeked(problem="it is not a GGUF file")
    version, tensors, _ = struct.unpack_from("<IQQ", start, 4)
    if version not in VERSIONS:
        return Peeked(problem=f"its GGUF version is {version}; 2 and 3 can be read")
    said = dict(_values(start))
    architecture = str(said.get("general.architecture", ""))
    partial = shard_of(path.name) is not None  # a first shard may be without tensors
    is_model = (
        said.get("general.type", "model") not in _NO_MODELS
        and architecture not in ("clip", "imatrix")
        and (tensors > 0 or partial)
    )
    pooling = said.get(f"{architecture}.pooling_type")
    known = POOLINGS.get(pooling) if isinstance(pooling, int) else None
    return Peeked(is_model, architecture, pooling=known)


def _values(start: bytes) -> Iterator[tuple[str, str | int]]:
    """The keys whose values are strings or 32-bit counts, until the bytes end."""
    position, (count,) = 24, struct.unpack_from("<Q", start, 16)
    try:
        while count > 0:
            count -= 1
            key, position = _text(start, position)
            (kind,) = struct.unpack_from("<I", start, position)
            position += 4
            if kind == _STRING:
                value, position = _text(start, position)
                yield key, value
            elif kind == _ARRAY:
                element, length = struct.unpack_from("<IQ", start, position)
                position += 12
                if element == _STRING:
                    for _ in range(length):
                        _, position = _text(start, position)
                else:
                    position += _SCALAR_BYTES[element] * length
            elif kind == _COUNT:
                (number,) = struct.unpack_from("<I", start, position)
                position += 4
                yield key, number
            else:
                position += _SCALAR_BYTES[kind]
    except (struct.error, KeyError, EOFError):
        return


def _text(start: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", start, position)
    end = position + 8 + length
    if end > len(start):
        raise EOFError
    return start[position + 8 : end].decode("utf-8", "replace"), end
