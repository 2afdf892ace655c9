"""Answers in one SQLite file of the cache folder, the latest used ones within a bound.

A thread of its own reads and writes. Servers may share the file. Where it fails, the connection is
dropped and the next call begins anew.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from localserve.response_cache.memory import Entry
from localserve.response_cache.question import Key
from localserve.response_cache.store import StoreFigures

FILE_NAME: Final = "responses.sqlite"
BUSY_SECONDS: Final = 1.0

USED_SECONDS: Final = 60.0
"""When an answer was used last is written down no more often than that."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    digest TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    size INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    used_at REAL NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON answers (used_at, size);
CREATE INDEX IF NOT EXISTS by_end ON answers (expires_at);
"""

T = TypeVar("T")


class SqliteStore:
    """At most `most_bytes` of answers; none counts for longer than `most_seconds` from now."""

    name = "disk"

    def __init__(self, path: Path, most_bytes: int, most_seconds: float) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._thread = ThreadPoolExecutor(1, "responses")
        self._file: sqlite3.Connection | None = None
        self._evictions = 0
        self._figures = StoreFigures(0, 0, 0)

    @property
    def place(self) -> str:
        return str(self._path)

    async def get(self, key: Key, now: float) -> Entry | None:
        return await self._in_thread(lambda file: self._get(file, key, now))

    async def put(self, key: Key, entry: Entry, now: float) -> None:
        await self._in_thread(lambda file: self._put(file, key, entry, now))

    async def purge(self, model: str | None) -> int:
        return await self._in_thread(lambda file: self._purge(file, model))

    def figures(self) -> StoreFigures:
        return self._figures

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop_file)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            try:
                with self._opened() as file:  # a transaction
                    return work(file)
            except BaseException:
                self._drop_file()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._file = sqlite3.connect(self._path, timeout=BUSY_SECONDS, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = OFF")  # it can be made again
            self._file.executescript(_SCHEMA)
            self._count(self._file)
        return self._file

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _get(self, file: sqlite3.Connection, key: Key, now: float) -> Entry | None:
        row = file.execute(
            "SELECT value, expires_at, used_at FROM answers WHERE digest = ?", (key.digest,)
        ).fetchone()
        # A clock that was set back, or a longer time of before, makes no answer last.
        if row is None or not now < row[1] <= now + self._most_seconds:
            return None
        if abs(now - row[2]) > USED_SECONDS:
            file.execute("UPDATE answers SET used_at = ? WHERE digest = ?", (now, key.digest))
        return Entry(bytes(row[0]), row[1])

    def _put(self, file: sqlite3.Connection, key: Key, entry: Entry, now: float) -> None:
        size = len(entry.value)
        file.execute("DELETE FROM answers WHERE expires_at <= ?", (now,))
        file.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (key.digest, key.model, size, entry.expires_at, now, entry.value),
        )
        excess = self._count(file).used_bytes - self._most_bytes
        if excess > 0:
            self._evict(file, excess)

    def _evict(self, file: sqlite3.Connection, excess: int) -> None:
        oldest = []
        for rowid, size in file.execute("SELECT rowid, size FROM answers ORDER BY used_at, rowid"):
            oldest.append((rowid,))
            excess -= size
            if excess <= 0:
                break
        file.executemany("DELETE FROM answers WHERE rowid = ?", oldest)
        self._evictions += len(oldest)
        self._count(file)

    def _purge(self, file: sqlite3.Connection, model: str | None) -> int:
        delete = "DELETE FROM answers WHERE :model IS NULL OR model = :model"
        gone = file.execute(delete, {"model": model}).rowcount
        file.commit()
        file.execute("VACUUM")  # what is forgotten is not to be found in the file
        self._count(file)
        return gone

    def _count(self, file: sqlite3.Connection) -> StoreFigures:
        count, size = file.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM answers"
        ).fetchone()
        self._figures = StoreFigures(count, size, self._evictions)
        return self._figures
