"""Which model a file holds, without reading all of it. Blocks; any thread."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import shard_names

HEADER_BYTES: Final = 8 << 20
"""Holds most files' headers whole."""

END_BYTES: Final = 1 << 20
"""The last weights: files of one header and one size are told apart by them."""


def file_identities(path: Path) -> list[list[object]]:
    """[size, time of change in ns, digest of its two ends] of each of a model's files, of which
    `path` is the first. Raises: OSError."""
    return [_identity(path.with_name(part)) for part in shard_names(path.name)]


def _identity(path: Path) -> list[object]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        digest.update(stream.read(HEADER_BYTES))
        size = stream.seek(0, 2)
        stream.seek(max(0, size - END_BYTES))
        digest.update(stream.read(END_BYTES))
    return [size, path.stat().st_mtime_ns, digest.hexdigest()]
