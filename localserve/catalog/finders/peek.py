"""The first 64 KiB of a GGUF file -> whether it is a model at all.

Enough for a list of many files: adapters, projectors, importance matrices, bare vocabularies and
models that make vectors say what they are among their first keys. The bytes are untrusted; nothing
beyond them is read, and a file that says nothing within them counts as a model. Blocking disk
access; any thread.
Source: docs/gguf.md of ggml, for the layout and for `general.type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import shard_of
from localserve.errors import ModelMalformed
from localserve.gguf.header import parse_beginning
from localserve.gguf.pooling import POOLINGS, Pooling

PEEKED_BYTES: Final = 1 << 16

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
    try:
        beginning = parse_beginning(start, path.name)
    except ModelMalformed as error:
        return Peeked(problem=error.message.removeprefix(f"{path.name}: "))
    said = beginning.texts
    architecture = said.get("general.architecture", "")
    partial = shard_of(path.name) is not None  # a first shard may be without tensors
    is_model = (
        said.get("general.type", "model") not in _NO_MODELS
        and architecture not in ("clip", "imatrix")
        and (beginning.tensor_count > 0 or partial)
    )
    pooling = POOLINGS.get(beginning.counts.get(f"{architecture}.pooling_type", 0))
    return Peeked(is_model, architecture, pooling=pooling)
