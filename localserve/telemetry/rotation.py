"""A log file that is put aside, compressed, when it is full or a day old, and deleted in the end.

`server.log` is the one that is written; `server.log.2026-11-26-001.gz` is the first one of that day
that was put aside. What cannot be renamed, compressed or deleted is tried again later; only a line
that cannot be written is an error. Blocking disk access; one thread at a time.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import stat
import time
import zlib
from collections import deque
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import BinaryIO, Final

MOST_OLD_FILES: Final = 100
"""So many are kept at most, however young they are: a flood of requests fills no disk."""

PAUSE_SECONDS: Final = 60.0
"""A file that could not be put aside is not tried again for so long."""

PART: Final = ".part"

_FLAGS: Final = os.O_APPEND | os.O_CREAT | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_OLD = re.compile(r"\.([0-9]{4}-[0-9]{2}-[0-9]{2})-([0-9]{3,})(\.gz)?\Z")


class RotatingFile:
    """Appends lines to `path`, of at most `max_bytes` together. Old files stay for `keep_days`."""

    def __init__(
        self, path: Path, *, max_bytes: int, keep_days: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep_days = keep_days
        self._clock = clock
        self._stream: BinaryIO | None = None
        self._regular = False
        self._size = 0
        self._day = ""
        self._torn = False
        self._again_at = 0.0

    def open(self) -> None:
        """Begin or go on with the file; else the first line does. Raises: OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(self._path, _FLAGS, 0o640)
        self._stream = os.fdopen(number, "ab", buffering=0)
        found = os.fstat(number)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size
        self._day = self._day_of(found.st_mtime if found.st_size else self._clock())
        self._tidy()

    def write(self, line: str) -> None:
        """Append one line. Raises: OSError; then it is lost, and no later one is harmed."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._stream is None:
            self.open()
        if self._is_due(len(data)):
            self._put_aside()
        assert self._stream is not None
        if self._torn:
            data = b"\n" + data
        written = self._stream.write(data) or 0
        self._size += written
        # A disk that fills up takes a part; the next line must not go on where that ends.
        self._torn = written < len(data) if written else self._torn

    def close(self) -> None:
        """Harmless when called twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def _is_due(self, more: int) -> bool:
        if not self._regular or not self._size:
            return False
        full = self._size + more > self._max_bytes
        now = self._clock()
        return (full or self._day_of(now) != self._day) and not now < self._again_at

    def _put_aside(self) -> None:
        """Begin a new file, or go on with this one where that cannot be."""
        self.close()
        try:
            os.rename(self._path, self._free_name())
        except OSError:
            self._again_at = self._clock() + PAUSE_SECONDS
        else:
            self._again_at, self._torn = 0.0, False
        self.open()

    def _free_name(self) -> Path:
        taken = {(day, number) for day, number, _ in old_files(self._path)}
        number = 1 + max((number for day, number in taken if day == self._day), default=0)
        return self._path.with_name(f"{self._path.name}.{self._day}-{number:03}")

    def _tidy(self) -> None:
        """Compress what is not yet, and delete what is too old or too much."""
        with contextlib.suppress(OSError):
            for leftover in self._path.parent.glob(f"{self._path.name}.*{PART}"):
                leftover.unlink()
        oldest = (date.fromtimestamp(self._clock()) - timedelta(self._keep_days)).isoformat()
        files = old_files(self._path)
        for place, (day, _, path) in enumerate(reversed(files)):
            with contextlib.suppress(OSError):
                if day < oldest or place >= MOST_OLD_FILES:
                    path.unlink()
                elif path.suffix != ".gz":
                    _compress(path)

    @staticmethod
    def _day_of(seconds: float) -> str:
        return date.fromtimestamp(seconds).isoformat()


def old_files(path: Path) -> list[tuple[str, int, Path]]:
    """What was put aside of the log at `path`: day, number and file, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for file in path.parent.iterdir():
            rest = file.name.removeprefix(path.name)
            if rest != file.name and (match := _OLD.fullmatch(rest)):
                found.append((match[1], int(match[2]), file))
    return sorted(found)


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of all that was put aside of the log at `path`; unreadable files are none."""
    found: list[str] = []
    for _, _, file in reversed(old_files(path)):
        if len(found) >= count:
            break
        with contextlib.suppress(OSError, EOFError, zlib.error), _reading(file) as stream:
            lines = deque(stream, maxlen=count - len(found))
            found = [line.decode("utf-8", "replace").rstrip("\n") for line in lines] + found
    return found


def _reading(file: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _compress(path: Path) -> None:
    """`path` becomes `path`.gz, or stays where the disk is full."""
    whole = path.with_name(f"{path.name}.gz")
    part = path.with_name(f"{path.name}.gz{PART}")
    try:
        with path.open("rb") as source, gzip.open(part, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 18)
        shutil.copymode(path, part)
        os.replace(part, whole)
        path.unlink()
    except OSError:
        part.unlink(missing_ok=True)
        raise
