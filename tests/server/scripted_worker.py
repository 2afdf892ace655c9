"""Workers without a model, each with one fault. For tests only.

`SCRIPT` names what each worker in turn does; `LIVES` is the file that counts them.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from localserve.backends.base import ModelFacts
from localserve.catalog.spec import ModelSpec
from localserve.server.orders import Order, read_orders
from localserve.server.process import WorkerArguments
from localserve.server.reports import (
    Aborting,
    DefaultChanged,
    Loaded,
    LoadFailed,
    Note,
    Reloaded,
    Report,
    encode,
)
from localserve.server.supervisor import LOAD_FAILED_STATUS

FACTS = ModelFacts("m", (), "llama", 8, 16, 2, 3, 4, 5, 6, 7, True, "CPU", "/m.gguf")


def tell(report: Report) -> None:
    sys.stdout.buffer.write(encode(report))
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    tell(Note(logging.INFO, text))


def dies_unread() -> None:
    os._exit(7)


def serves(spec: ModelSpec) -> None:
    """Tells its pid and aliases, and obeys; a signal that came while it started did no harm."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    note(f"pid {os.getpid()}")
    note(f"aliases {','.join(spec.aliases)}")
    tell(Loaded(replace(FACTS, name=spec.name), 0.0, 0))
    for order in read_orders(sys.stdin.buffer):
        note(order.value)
        if order is Order.STOP:
            sys.exit(0)
        tell(Reloaded(replace(spec, aliases=("new",))))


def dies_once_another_is_the_default(spec: ModelSpec) -> None:
    tell(Loaded(replace(FACTS, name=spec.name), 0.0, 0))
    tell(DefaultChanged(replace(spec, aliases=("another",))))
    os._exit(7)


def tells_its_environment(spec: ModelSpec) -> None:
    for name in ("GOMP_SPINCOUNT", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        note(f"{name}={os.environ[name]}")
    serves(spec)


def hangs(spec: ModelSpec) -> None:
    note(f"pid {os.getpid()}")
    tell(Loaded(replace(FACTS, name=spec.name), 0.0, 0))
    for order in read_orders(sys.stdin.buffer):
        note(order.value)
    time.sleep(600)


def aborts_after_a_reload(spec: ModelSpec) -> None:
    tell(Loaded(replace(FACTS, name=spec.name), 0.0, 0))
    assert next(read_orders(sys.stdin.buffer)) is Order.RELOAD
    tell(Reloaded(replace(spec, aliases=("new",))))
    tell(Aborting("an assertion"))
    os.abort()


def dies_before_it_obeys(spec: ModelSpec) -> None:
    tell(Loaded(replace(FACTS, name=spec.name), 0.0, 0))
    next(read_orders(sys.stdin.buffer))
    os._exit(8)


def dies_when_stopped(spec: ModelSpec) -> None:
    dies_before_it_obeys(spec)


def cannot_load(spec: ModelSpec) -> None:
    tell(LoadFailed("The file is damaged.", "Take another."))
    sys.exit(LOAD_FAILED_STATUS)


def main() -> None:
    with Path(os.environ["LIVES"]).open("a+") as lives:
        lives.write("x")
        lives.seek(0)
        life = len(lives.read()) - 1
    name = os.environ["SCRIPT"].split()[life]
    if name == "dies_unread":
        dies_unread()
    arguments: WorkerArguments = pickle.load(sys.stdin.buffer)
    globals()[name](arguments.spec)


if __name__ == "__main__":
    main()
