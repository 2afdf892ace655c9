"""The headers of a model's files, from this disk: what the model is before any weight is read.

Blocking: call it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localserve.catalog.filenames import shard_names
from localserve.catalog.locate import check_file
from localserve.gguf.facts import GgufFacts, in_order, merge_files
from localserve.gguf.header import Header, parse_file


@dataclass(frozen=True)
class Headers:
    """The headers of all files of one model, first shard first."""

    files: tuple[Header, ...]
    facts: GgufFacts


def merge_headers(files: Sequence[Header]) -> Headers:
    """The files' headers in order. Raises: ModelMalformed, where they do not belong together."""
    return Headers(tuple(in_order(files)), merge_files(files))


def read_local(path: Path) -> Headers:
    """The headers of a file on this disk and of its other shards, which lie beside it.

    Raises: ModelUnusable (not there, not readable), ModelMalformed.
    """
    first = check_file(path)
    return merge_headers([parse_file(first.with_name(name)) for name in shard_names(first.name)])
