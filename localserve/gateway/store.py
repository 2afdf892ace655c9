"""The SQLite file that keeps the keys: `keys.sqlite` in the data folder.

Blocking disk access; any thread. Commands and servers share it: every change is one transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from localserve.chat import Priority
from localserve.config import Settings
from localserve.errors import KeyExists, StoreFailed, UnknownKey
from localserve.gateway.keys import IssuedKey, Key, KeyScope, StoredSecret, check_name, new_secret

FILE_NAME: Final = "keys.sqlite"
BUSY_SECONDS: Final = 5.0

_MIGRATIONS: Final = (
    """
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    models TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
);
CREATE UNIQUE INDEX names ON keys (name) WHERE revoked_at IS NULL;
CREATE TABLE secrets (
    handle TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    digest BLOB NOT NULL,
    made_at REAL NOT NULL,
    valid_until REAL
);
""",
    """
ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE keys ADD COLUMN tokens_per_minute INTEGER;
""",
    """
ALTER TABLE keys ADD COLUMN priority TEXT;
""",
)
"""What makes each version of the file out of the one before."""


class KeyStore:
    """All keys of one data folder. Every method raises StoreFailed where the file fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether a key was ever made here."""
        return self.path.exists()

    def read(self) -> tuple[Key, ...]:
        """All keys, the revoked ones too, oldest first."""
        if not self.exists():
            return ()
        with self._open() as file:
            return _keys(file)

    def create(
        self,
        name: str,
        *,
        now: float,
        scope: KeyScope = "inference",
        models: Sequence[str] = (),
        expires_at: float | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        priority: Priority | None = None,
    ) -> IssuedKey:
        """Make a key. Raises: InvalidRequest (the name), KeyExists."""
        secret, stored = new_secret()
        key = Key(
            uuid4().hex,
            check_name(name),
            scope,
            tuple(models),
            now,
            expires_at,
            None,
            (stored,),
            requests_per_minute,
            tokens_per_minute,
            priority,
        )
        with self._changing() as file:
            if any(one.name == name and one.revoked_at is None for one in _keys(file)):
                raise KeyExists(
                    f"There is a key {name!r} already.",
                    hint=f"`localserve keys rotate {name}` gives it a new secret.",
                )
            file.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)",
                (
                    key.id,
                    name,
                    scope,
                    json.dumps(key.models),
                    now,
                    expires_at,
                    requests_per_minute,
                    tokens_per_minute,
                    None if priority is None else priority.word,
                ),
            )
            _insert_secret(file, key.id, stored, now)
        return IssuedKey(key, secret)

    def rotate(self, name: str, *, now: float, grace_seconds: float) -> IssuedKey:
        """Give a key a new secret; older ones are valid for `grace_seconds` more.

        Raises: UnknownKey.
        """
        secret, stored = new_secret()
        with self._changing() as file:
            key = _named(file, name)
            file.execute(
                "UPDATE secrets SET valid_until = min(coalesce(valid_until, :until), :until)"
                " WHERE key_id = :key",
                {"until": now + grace_seconds, "key": key.id},
            )
            _insert_secret(file, key.id, stored, now)
            return IssuedKey(_named(file, name), secret)

    def revoke(self, name: str, *, now: float) -> Key:
        """End a key with all its secrets. Raises: UnknownKey."""
        with self._changing() as file:
            key = _named(file, name)
            file.execute("UPDATE keys SET revoked_at = ? WHERE id = ?", (now, key.id))
            return next(one for one in _keys(file) if one.id == key.id)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that keeps other writers out from its beginning."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from None
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back already
                    file.execute("ROLLBACK")
                raise
            file.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        address = f"file:{quote(str(self.path))}?mode=rw"
        try:
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            ) as file:
                self._prepare(file)
                yield file
        except sqlite3.Error as error:
            raise self._failure(str(error)) from None

    def _prepare(self, file: sqlite3.Connection) -> None:
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise self._failure(f"a newer localserve wrote it (version {version})")
        if version == len(_MIGRATIONS):
            return
        file.execute("BEGIN IMMEDIATE")
        (version,) = file.execute("PRAGMA user_version").fetchone()  # another may have done it
        for step in _MIGRATIONS[version:]:
            for statement in filter(str.strip, step.split(";")):
                file.execute(statement)
        file.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        file.execute("COMMIT")

    def _failure(self, reason: str) -> StoreFailed:
        return StoreFailed(
            f"The keys in {self.path} cannot be read or written: {reason}.",
            retry_after_seconds=30,
            hint="Nothing was changed. Make room on the disk or mend the file, then try again.",
        )


def key_store(settings: Settings) -> KeyStore:
    """The store of the data folder."""
    return KeyStore(settings.data_dir / FILE_NAME)


def _insert_secret(file: sqlite3.Connection, key_id: str, stored: StoredSecret, now: float) -> None:
    file.execute(
        "INSERT INTO secrets VALUES (?, ?, ?, ?, NULL)",
        (stored.handle, key_id, stored.digest, now),
    )


def _keys(file: sqlite3.Connection) -> tuple[Key, ...]:
    secrets: dict[str, list[StoredSecret]] = {}
    for handle, key_id, digest, valid_until in file.execute(
        "SELECT handle, key_id, digest, valid_until FROM secrets ORDER BY made_at DESC, rowid DESC"
    ):
        secrets.setdefault(key_id, []).append(StoredSecret(handle, digest, valid_until))
    rows = file.execute(
        "SELECT id, name, scope, models, created_at, expires_at, revoked_at, requests_per_minute,"
        " tokens_per_minute, priority FROM keys ORDER BY created_at, rowid"
    )
    return tuple(
        Key(
            id,
            name,
            scope,
            tuple(json.loads(models)),
            made,
            ends,
            revoked,
            tuple(secrets[id]),
            requests,
            tokens,
            None if priority is None else Priority[priority.upper()],
        )
        for id, name, scope, models, made, ends, revoked, requests, tokens, priority in rows
    )


def _named(file: sqlite3.Connection, name: str) -> Key:
    keys = [key for key in _keys(file) if key.revoked_at is None]
    for key in keys:
        if key.name == name:
            return key
    near = get_close_matches(name, [key.name for key in keys])
    did_you_mean = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownKey(
        f"There is no key {name[:80]!r}.{did_you_mean}", hint="`localserve keys list` shows all."
    )
