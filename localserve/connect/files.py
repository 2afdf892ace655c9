"""Writes entries into clients' files, and takes them out again.

What was written, and what stood there before, is remembered in a small file for each client, so
that undoing leaves alone what the user has changed since. Beside each file that was there before
lies a copy of what it said. Files are replaced, never written into: a crash leaves the old one or
the new one. Any thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localserve.connect.client import Client, ConfigFile
from localserve.connect.jsonc import Malformed
from localserve.connect.merging import ABSENT, merge, project, revert, same, settle
from localserve.connect.places import Surroundings
from localserve.connect.served import Served
from localserve.errors import LocalserveError

MOST_BYTES: Final = 8 << 20
BACKUP_SUFFIX: Final = ".before-localserve"
PRIVATE: Final = 0o600
"""New files may hold a key."""


class FileNotChanged(LocalserveError):
    """A client's file is not as its client would have it, or cannot be read or written."""

    code = "client_file_not_changed"
    description = "A client's configuration file cannot be changed; it is left as it is."


@dataclass(frozen=True, slots=True)
class Written:
    """What is remembered of a file: its entries, what stood in their place (ABSENT for nothing at
    all), the digest of the whole file, and the copy of the file as it was without them, if there is
    one."""

    path: Path
    entries: object
    before: object
    digest: str
    backup: Path | None


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it will be, and what will be remembered of it. With `backs_up` the old one is
    copied first."""

    path: Path
    text: str
    written: Written
    backs_up: bool = False


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of a file: restored as it was, edited, removed, or not there any more."""

    path: Path
    how: str


class Memory:
    """What was written for a client."""

    def __init__(self, folder: Path, client: Client) -> None:
        self._path = folder / f"{client.name}.json"

    def files(self) -> tuple[Written, ...]:
        """Those of the last write that is not undone."""
        try:
            document = json.loads(self._path.read_bytes())
            return tuple(_remembered(one) for one in document["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def keep(self, files: Sequence[Written]) -> None:
        """Raises: OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        document = {"files": [_document(one) for one in files]}
        replace_file(self._path, json.dumps(document, indent=2, default=str).encode())

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def plan_write(
    client: Client, served: Served, account: Surroundings, memory: Memory
) -> list[Change]:
    """The client's files with the server's entries in them. Writes nothing.

    Raises: FileNotChanged.
    """
    earlier = {one.path: one for one in memory.files()}
    changes = []
    for file in client.files_for(account):
        path = file.path(account)
        changes.append(_plan(file, path, served, earlier.get(path)))
    return changes


def write(changes: Sequence[Change], memory: Memory) -> None:
    """Do it. Raises: FileNotChanged."""
    path = None
    try:
        memory.keep([change.written for change in changes])
        for change in changes:
            path = change.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if change.backs_up:
                assert change.written.backup is not None
                shutil.copy2(path, change.written.backup)
            replace_file(path, change.text.encode())
    except OSError as error:
        raise _failed(path, error) from None


def undo(client: Client, account: Surroundings, memory: Memory) -> list[Undone]:
    """Take out what was written last; what was changed since stays. Raises: FileNotChanged."""
    formats = {file.path(account): file for file in (*client.files, *client.either)}
    done = []
    for written in memory.files():
        try:
            done.append(Undone(written.path, _undo(written, formats.get(written.path))))
        except OSError as error:
            raise _failed(written.path, error) from None
    memory.forget()
    return done


def replace_file(path: Path, content: bytes) -> None:
    """Write a file anew as a whole, through links, keeping its mode. Raises: OSError."""
    real = path.resolve()
    new = real.with_name(f".{real.name}.{os.getpid()}.new")
    try:
        mode = stat.S_IMODE(real.stat().st_mode)
    except FileNotFoundError:
        mode = PRIVATE
    try:
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(new, mode)
        os.replace(new, real)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _plan(file: ConfigFile, path: Path, served: Served, earlier: Written | None) -> Change:
    text = _read(path)
    current = ABSENT if text is None else _parse(file, path, text)
    before = current
    if earlier is not None and text is not None:
        before = revert(current, earlier.entries, earlier.before)
    entries = settle(file.content(served), before)
    start = type(entries)() if before is ABSENT else before
    if type(start) is not type(entries):
        raise FileNotChanged(
            f"{path} does not say what the client expects there.",
            hint="Put the lines that are printed without --write in by hand.",
        )
    wanted = merge(start, entries)
    new = file.format.rewrite(text or "", wanted)
    if not same(file.format.parse(new), wanted):
        raise FileNotChanged(
            f"{path} cannot be changed without changing other entries.",
            hint="Put the lines that are printed without --write in by hand.",
        )
    backup = None
    if earlier is None and text is not None:
        backup = _free_backup(path)
    elif earlier is not None and text is not None and earlier.digest == _digest(text.encode()):
        backup = earlier.backup  # still what the file was without the entries
    written = Written(path, entries, project(before, entries), _digest(new.encode()), backup)
    return Change(path, new, written, backs_up=earlier is None and backup is not None)


def _undo(written: Written, file: ConfigFile | None) -> str:
    path = written.path
    if not path.exists():
        return "gone"
    content = path.read_bytes()
    if _digest(content) == written.digest:
        if written.before is ABSENT:
            path.unlink()
            return "removed"
        if written.backup is not None and written.backup.exists():
            replace_file(path, written.backup.read_bytes())
            written.backup.unlink()
            return "restored"
    text = _read(path)
    if file is None or text is None:
        raise FileNotChanged(f"{path} is not known to be a file of this client any more.")
    left = revert(_parse(file, path, text), written.entries, written.before)
    empty = type(written.entries)()
    text = file.format.rewrite(text, empty if left is ABSENT else left)
    if left is ABSENT and text.strip() in ("", json.dumps(empty)):
        path.unlink()
        return "removed"
    replace_file(path, text.encode())
    return "edited"


def _read(path: Path) -> str | None:
    """The text of a file; None where there is none. Raises: FileNotChanged."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FileNotChanged(f"{path} is larger than any configuration file should be.")
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise FileNotChanged(
            f"{path} is not in UTF-8.", hint="Save it as UTF-8, or change it by hand."
        ) from None
    except OSError as error:
        raise _failed(path, error) from None


def _parse(file: ConfigFile, path: Path, text: str) -> object:
    try:
        return file.format.parse(text)
    except Malformed as error:
        raise FileNotChanged(
            f"{path}: {error}.", hint="Mend that first; nothing has been changed."
        ) from None


def _failed(path: Path | None, error: OSError) -> FileNotChanged:
    where = error.filename or path or "the data folder"
    return FileNotChanged(f"{where}: {error.strerror or error}.", hint="Is it yours to write?")


def _free_backup(path: Path) -> Path:
    """A name for the copy that no older one has."""
    backup = path.with_name(path.name + BACKUP_SUFFIX)
    number = 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}{BACKUP_SUFFIX}-{number}")
    return backup


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _document(written: Written) -> dict[str, object]:
    document: dict[str, object] = {
        "path": str(written.path),
        "entries": written.entries,
        "digest": written.digest,
        "backup": str(written.backup) if written.backup is not None else None,
    }
    return document if written.before is ABSENT else {**document, "before": written.before}


def _remembered(document: Mapping[str, Any]) -> Written:
    backup = document["backup"]
    return Written(
        Path(document["path"]),
        document["entries"],
        document.get("before", ABSENT),
        document["digest"],
        Path(backup) if backup is not None else None,
    )
