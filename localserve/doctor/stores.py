"""What localserve keeps: the keys, and the folders that it writes into."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import StoreFailed
from localserve.gateway.store import KeyStore, key_store

NAME = "stores"


def check_stores(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    yield from _about_keys(key_store(settings))
    for holds, folder in (
        ("data", settings.data_dir),
        ("models", settings.models_dir),
        ("cache", settings.cache_dir),
        ("prefixes", settings.prefixes_dir),
    ):
        yield _about_folder(holds, folder)


def _about_keys(store: KeyStore) -> Iterator[Finding]:
    if not store.exists():
        yield Finding(NAME, "ok", "keys: there is none, and this machine needs none")
        return
    try:
        keys = [key for key in store.read() if key.revoked_at is None]
    except StoreFailed as error:
        yield Finding(NAME, "problem", error.message, error.hint or None)
        return
    yield Finding(NAME, "ok", f"keys: {len(keys)} in {store.path}")
    if os.name == "posix" and stat.S_IMODE(store.path.stat().st_mode) & 0o077:
        message = f"other users may read {store.path}"
        yield Finding(NAME, "warning", message, f"chmod 600 '{store.path}'")


def _about_folder(holds: str, folder: Path) -> Finding:
    """One that is missing is made when it is needed, in the nearest one that exists."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        message = f"{holds}: {place} cannot be written to ({error.strerror or error})"
        remedy = f"Give this user the right to, or set LOCALSERVE_{_VARIABLES[holds]}."
        return Finding(NAME, "problem", message, remedy)
    made = "" if place == folder else ", made when needed"
    return Finding(NAME, "ok", f"{holds}: {folder} can be written to{made}")


_VARIABLES = {
    "data": "DATA_DIR",
    "models": "MODELS_DIR",
    "cache": "CACHE_DIR",
    "prefixes": "PREFIXES_DIR",
}
