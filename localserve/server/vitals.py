"""What a server checks of itself: its model, engines, memory, disk, keys, and Redis where it is
used.

Lives on the event loop; what may wait for a disk runs in threads that do nothing else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from localserve.backends.base import Backend
from localserve.backends.remote import RemoteBackend
from localserve.config import Settings
from localserve.gateway.bucket import Buckets
from localserve.gateway.redis_buckets import RedisBuckets
from localserve.gateway.store import KeyStore
from localserve.manager import Failed, Idle, Loading, ModelManager, Ready
from localserve.planner.memory import Memory, read_memory
from localserve.planner.readings import Readings
from localserve.planner.usage import RAM
from localserve.server.checks import CHECK_SECONDS, Finding, HealthChecks, NamedCheck

ENGINE_SECONDS: Final = CHECK_SECONDS - 0.01
"""An engine has a little less to answer, so that it is said that it did not."""

LOW_MEMORY_SHARE: Final = 0.02
"""Of all memory: with less than that left, programs begin to be killed."""

LOW_DISK_BYTES: Final = 256 << 20
"""With less than that, logs and keys are soon in danger, and no model can be downloaded."""

T = TypeVar("T")


def own_checks(
    manager: ModelManager, settings: Settings, store: KeyStore, buckets: Buckets
) -> HealthChecks:
    """The checks of one server, to which others may be added."""
    threads = ThreadPoolExecutor(2, "health")
    checks = HealthChecks(partial(threads.shutdown, wait=False))  # a disk that hangs holds up none
    checks.add("model", lambda: _model(manager))
    checks.add_source(lambda: _engines(manager))
    checks.add("memory", lambda: _memory(manager, lambda: read_memory(Readings())))
    checks.add("disk", lambda: _in_thread(threads, partial(_disk, settings.data_dir)))
    checks.add("keys", lambda: _in_thread(threads, partial(_keys, store)))
    if isinstance(buckets, RedisBuckets):
        checks.add("redis", partial(_redis, buckets))
    return checks


async def _in_thread(threads: ThreadPoolExecutor, look: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, look)


async def _model(manager: ModelManager) -> Finding:
    """The default model: what requests that name none would get."""
    match manager.state:
        case Loading(name, share):
            details = {"model": name, "state": "loading", "progress": round(share, 3)}
            return Finding(f"{name!r} is being loaded; requests wait for it.", details=details)
        case Failed(name, error):
            details = {"model": name, "state": "failed"}
            return Finding(f"{name!r} is not loaded: {error}", fatal=True, details=details)
        case Idle(name):
            return Finding(details={"model": name, "state": "unloaded"})
        case Ready(name):
            return Finding(details={"model": name, "state": "loaded"})


def _engines(manager: ModelManager) -> Iterator[NamedCheck]:
    """One for each model that is loaded; only the default one's is vital."""
    for backend in manager.backends():
        if isinstance(backend, RemoteBackend):
            continue  # `remote_checks.py` has more to say of those
        name = backend.facts.name
        vital = name == manager.spec.name
        yield NamedCheck(f"engine {name}", _engine_check(backend), vital=vital)


def _engine_check(backend: Backend) -> Callable[[], Awaitable[Finding]]:
    async def check() -> Finding:
        steps = await backend.responsive(ENGINE_SECONDS)
        status = backend.status()
        details = {
            "running": status.running,
            "waiting": status.waiting,
            "cells_used": status.cells_used,
            "cells": status.cells,
            "steps": status.steps,
            "step_age_seconds": round(status.step_age_seconds, 3),
        }
        problem = None if steps else f"It did not answer within {ENGINE_SECONDS * 1e3:.0f} ms."
        return Finding(problem, details=details)

    return check


async def _memory(manager: ModelManager, read: Callable[[], Memory]) -> Finding:
    """A read of some small files of the kernel, which waits for nothing."""
    memory = read()
    available, usable = memory.available_bytes, memory.usable_bytes
    details = {
        "available_bytes": available,
        "usable_bytes": usable,
        "held_by_models_bytes": manager.ledger.charge(manager.ledger.held).get(RAM, 0),
    }
    problem = None
    if available < usable * LOW_MEMORY_SHARE:
        problem = (
            f"{available / 1e6:,.0f} of {usable / 1e6:,.0f} MB are left. A smaller context or"
            " fewer models (LOCALSERVE_MODEL_RAM_BYTES) would help."
        )
    return Finding(problem, details=details)


def _disk(folder: Path) -> Finding:
    """Where keys, lessons and logs lie, or will."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    problem = None
    if free < LOW_DISK_BYTES:
        problem = f"{free / 1e6:,.0f} MB are left for logs, keys and downloads; make room."
    elif not os.access(there, os.W_OK):
        problem = f"{there} cannot be written to: logs and lessons are lost."
    return Finding(problem, details={"folder": str(folder), "free_bytes": free})


def _keys(store: KeyStore) -> Finding:
    """Whether new keys would be seen. Raises: StoreFailed."""
    active = sum(key.revoked_at is None for key in store.read())
    return Finding(details={"keys": active})


async def _redis(buckets: RedisBuckets) -> Finding:
    """Without it each server counts rate limits by itself."""
    await buckets.ping()
    return Finding()
