"""A file elsewhere, and what tells whether its bytes are right. Pure; any thread."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(frozen=True, slots=True)
class Checksum:
    """`digest` in hex. `git-sha1` is what git calls a file: of its size, then its bytes."""

    kind: Literal["sha256", "git-sha1"]
    digest: str

    def start(self, size_bytes: int) -> _Hash:
        """A hash to feed with a file of that size."""
        if self.kind == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of one commit, or at one address.

    `content_id` changes when its bytes do. `etag` is the validator of an address whose content may
    change; None where the address always means the same bytes. Without a `checksum` nobody says
    what the bytes should be.
    """

    name: str
    url: str
    size_bytes: int
    content_id: str
    checksum: Checksum | None = None
    etag: str | None = None
    resumable: bool = True
