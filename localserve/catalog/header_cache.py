"""Headers that were fetched, kept in the cache folder until the file they belong to changes.

An entry is one file: a line of JSON, then the header's bytes. It is written under another name and
moved, and checked when it is read; a damaged one counts as none. Any thread, any process.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from localserve.errors import ModelMalformed
from localserve.gguf.header import Header, parse
from localserve.gguf.reader import MAX_HEADER_BYTES

log = logging.getLogger(__name__)

MAX_CACHE_BYTES: Final = 1 << 30
_SUFFIX: Final = ".gguf-header"


@dataclass(frozen=True, slots=True)
class KeptHeader:
    """A header with the etag of the file that it was read from."""

    etag: str
    header: Header


class HeaderCache:
    """The entries in one folder. What the disk refuses is logged and otherwise ignored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str, name: str) -> KeptHeader | None:
        """The entry for a key (an address); `name` is what its header is called in messages."""
        path = self._path(key)
        try:
            if path.stat().st_size > MAX_HEADER_BYTES + 4096:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        return _read_entry(content, name)

    def store(self, key: str, etag: str, header: Header) -> None:
        """Keep a header, replacing an earlier one of that key."""
        about = {
            "etag": etag,
            "size_bytes": header.size_bytes,
            "sha256": sha256(header.raw).hexdigest(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self._path(key), json.dumps(about).encode() + b"\n" + header.raw)
            self._make_room()
        except OSError as error:
            log.debug("a header is not kept in %s: %s", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{sha256(key.encode()).hexdigest()[:32]}{_SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        handle, partial = tempfile.mkstemp(dir=self.folder, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise

    def _make_room(self) -> None:
        """Remove the oldest entries past the bound."""
        entries = [(path.stat(), path) for path in self.folder.glob(f"*{_SUFFIX}")]
        entries.sort(key=lambda entry: entry[0].st_mtime)
        total = sum(status.st_size for status, _ in entries)
        for status, path in entries:
            if total <= MAX_CACHE_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= status.st_size


def _read_entry(content: bytes, name: str) -> KeptHeader | None:
    line, _, raw = content.partition(b"\n")
    try:
        about = json.loads(line)
        if about["sha256"] != sha256(raw).hexdigest():
            return None
        etag, size = about["etag"], about["size_bytes"]
        if not isinstance(etag, str) or not isinstance(size, int):
            return None
        header = parse(lambda offset, length: raw[offset : offset + length], size, name)
    except (ValueError, KeyError, TypeError, ModelMalformed):
        return None
    return KeptHeader(etag, header)
