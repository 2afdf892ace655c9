"""The file of the keys: whether it can be read, and by whom."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import StoreFailed
from localserve.gateway.store import key_store

NAME = "keys"


def check_keys(subject: Subject) -> Iterator[Finding]:
    store = key_store(subject.settings)
    try:
        keys = store.read()
    except StoreFailed as error:
        yield Finding(NAME, "problem", error.message, error.hint or None)
        return
    good = [key for key in keys if key.state(time.time()) == "active"]
    if not keys:
        yield Finding(NAME, "ok", "there are none: programs of this machine need none")
    elif not good:
        message = f"all {len(keys)} keys are revoked or expired: nobody is let in"
        yield Finding(NAME, "warning", message, commands=("localserve keys create NAME",))
    else:
        yield Finding(NAME, "ok", f"{len(good)} of {len(keys)} are good, in {store.path}")
    if keys and os.name == "posix" and stat.S_IMODE(store.path.stat().st_mode) & 0o077:
        message = f"other users may read {store.path}"
        yield Finding(NAME, "warning", message, commands=(f"chmod 600 '{store.path}'",))
