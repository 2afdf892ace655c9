"""The folder of all kept prefixes: files that only their user may read, within a budget.

One folder per model and way of running it, one file per record. Other servers may use it at the
same time: files appear whole, by renaming, and may vanish at any moment. What was used longest ago
goes first, by the files' times, which all servers see. Blocking; any thread.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localserve.engine.disk.record import (
    Damaged,
    Payload,
    Record,
    read_payloads,
    read_record,
    write_record,
)

log = logging.getLogger(__name__)

MOST_FILES: Final = 10_000
"""Small models write small files; they are counted, too."""

STALE_SECONDS: Final = 3_600.0
"""A file that was begun so long ago is not being written any more."""

LOOK_SECONDS: Final = 1.0
"""How long what was seen in the folder counts, where the budget is not reached."""

_NAMESPACE = re.compile(r"[0-9a-f]{32}")
_RECORD = re.compile(r"([0-9a-f]{32})\.kv")
_BEGUN = re.compile(r"[0-9a-f]{32}\.kv\.[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    used: float
    size: int


class PrefixFolder:
    """`path` is made where it is missing. All files together keep to `limit_bytes`."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._size = self._count = 0
        self._looked = float("-inf")

    def prepare(self, namespace: bytes) -> None:
        """Make the folders, and let nobody else read them.

        Raises: OSError; PermissionError, where somebody else owns them.
        """
        for folder in (self._path, self._path / namespace.hex()):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(f"{folder} is no folder")
            if hasattr(os, "getuid") and found.st_uid != os.getuid():
                raise PermissionError(f"{folder} belongs to another user")
            if stat.S_IMODE(found.st_mode) & 0o077:
                folder.chmod(0o700)

    def records(self, namespace: bytes) -> list[Record]:
        """All records of one model, those used last at the end. Damaged ones are removed."""
        found: list[Record] = []
        for file in sorted(_files(self._path / namespace.hex()), key=lambda one: one.used):
            with contextlib.suppress(OSError, Damaged), _removing_damaged(file.path):
                with _opened(file.path) as stream:
                    record = read_record(stream, namespace)
                if _name(record.key) != file.path.name:
                    raise Damaged("its name is that of another record")
                found.append(record)
        return found

    def make_room(self, size: int) -> list[tuple[bytes, bytes]] | None:
        """Let the files that were used longest ago go until there is room for `size` bytes.

        Returns namespace and key of those that went; None where there can be no room.
        """
        gone: list[tuple[bytes, bytes]] = []
        if size > self.limit_bytes:
            return None
        with self._lock:
            if self._has_room(size) and time.monotonic() - self._looked < LOOK_SECONDS:
                return gone
            for file in self._look():
                if self._has_room(size):
                    break
                with contextlib.suppress(OSError):
                    file.path.unlink()
                self._size -= file.size
                self._count -= 1
                name = file.path.name.partition(".")[0]
                gone.append((bytes.fromhex(file.path.parent.name), bytes.fromhex(name)))
        return gone

    def write(self, namespace: bytes, record: Record, payloads: Sequence[Payload]) -> None:
        """Write a record, for which there should be room.

        Raises: OSError, and then nothing is left of it.
        """
        self.prepare(namespace)  # somebody may have removed it meanwhile
        path = self._file(namespace, record.key)
        begun = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        try:
            handle = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
            with os.fdopen(handle, "wb") as stream:
                write_record(stream, namespace, record, payloads)
            os.replace(begun, path)
        except BaseException:
            with contextlib.suppress(OSError):
                begun.unlink()
            raise
        with self._lock:
            self._size += record.file_bytes
            self._count += 1

    def read(self, namespace: bytes, record: Record) -> list[Payload]:
        """The parts of a record. A damaged one is removed.

        Raises: OSError, where it cannot be read (any more); Damaged.
        """
        path = self._file(namespace, record.key)
        with _removing_damaged(path), _opened(path) as stream:
            return read_payloads(stream, namespace, record)

    def touch(self, namespace: bytes, key: bytes) -> bool:
        """Count a record as used now; False where it is gone."""
        try:
            os.utime(self._file(namespace, key))
        except FileNotFoundError:
            return False
        except OSError:
            pass  # it may be read, though not be touched
        return True

    def remove(self, namespace: bytes, key: bytes) -> None:
        """Harmless where it is gone."""
        with contextlib.suppress(OSError):
            self._file(namespace, key).unlink()

    def _has_room(self, size: int) -> bool:
        return self._size + size <= self.limit_bytes and self._count < MOST_FILES

    def _look(self) -> list[_File]:
        """All files, those used longest ago first."""
        files: list[_File] = []
        with contextlib.suppress(OSError):
            for folder in self._path.iterdir():
                if _NAMESPACE.fullmatch(folder.name):
                    files += _files(folder)
        self._size, self._count = sum(file.size for file in files), len(files)
        self._looked = time.monotonic()
        return sorted(files, key=lambda file: file.used)

    def _file(self, namespace: bytes, key: bytes) -> Path:
        return self._path / namespace.hex() / _name(key)


def _name(key: bytes) -> str:
    return f"{key.hex()}.kv"


def _files(folder: Path) -> Iterator[_File]:
    """The records' files in a folder; what was begun and never ended is removed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    continue
                if _RECORD.fullmatch(entry.name):
                    yield _File(Path(entry.path), found.st_mtime, found.st_size)
                elif _BEGUN.fullmatch(entry.name) and _is_stale(found.st_mtime):
                    os.unlink(entry.path)


def _is_stale(modified: float) -> bool:
    return time.time() - modified > STALE_SECONDS


@contextmanager
def _removing_damaged(path: Path) -> Iterator[None]:
    """Tell of a damaged file and remove it; what was found goes on its way."""
    try:
        yield
    except Damaged as failure:
        log.warning("%s is left out and removed: %s", path, failure)
        with contextlib.suppress(OSError):
            path.unlink()
        raise


_BINARY = getattr(os, "O_BINARY", 0)
_NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """A plain file, and not where a link leads to.

    Raises: OSError.
    """
    handle = os.open(path, os.O_RDONLY | _BINARY | _NOT_FOLLOWED)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no plain file")
        yield stream
