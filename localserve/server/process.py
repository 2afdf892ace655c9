"""A worker as its supervisor holds it: a child process with orders going in and reports coming out.

Starting, ordering and killing never wait: one thread writes what goes in, another reads what comes
out, so that a worker that is stuck sticks nobody else. Knows nothing of what orders and reports
mean.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from socket import socket

from localserve.catalog.spec import ModelSpec
from localserve.config import SETTINGS, Settings
from localserve.server.orders import Order, encode_order
from localserve.server.reports import Report, decode

BARRIER_SPINS = "3000"
"""How often a thread of llama.cpp looks whether the others are done, before it sleeps.

OpenMP's default spins for milliseconds. That is a little faster on a machine with nothing else to
do, and a hundred times slower as soon as another program wants a core: the threads that spin keep
the one that they wait for from running. `benchmarks/LOG.md` has the figures.
"""

MALLOC_ARENAS = "2"
"""How many heaps glibc may make for threads, of eight for each core.

Each load has a new engine thread, and what is freed in a heap of its own is not always given back:
`benchmarks/LOG.md` has the figures. Few threads allocate here at the same time.
"""

MALLOC_TUNABLES = "glibc.malloc.hugetlb=1"
"""Large pieces of memory in pages of 2 MiB, where the kernel leaves that to programs: weights and
caches are read from end to end for each token, and looking up 4 KiB pages takes some percent of it.
"""

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
"""Ctrl-C, and how a system ends a service."""

RELOAD_SIGNALS = frozenset({signal.SIGHUP}) if sys.platform != "win32" else frozenset()
"""How a system asks a service to read its configuration again."""


@dataclass(frozen=True, slots=True)
class WorkerArguments:
    """What a worker is told first, pickled through its stdin; orders follow."""

    settings: Settings
    spec: ModelSpec
    sockets: tuple[int | bytes, ...]
    owner_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is gone, and all it said has been told. `status` is negative for a signal."""

    status: int


class WorkerProcess:
    """A running worker. `tell` gets its reports and then Ended, on a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        sockets: Sequence[socket],
        tell: Callable[[Report | Ended], None],
        *,
        owner_key: str | None = None,
        module: str,
    ) -> None:
        self._tell = tell
        self._process = _start(module, sockets)
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        if sys.platform == "win32":
            handed_over = tuple(one.share(self._process.pid) for one in sockets)
        else:
            handed_over = tuple(one.fileno() for one in sockets)
        arguments = WorkerArguments(settings, spec, handed_over, owner_key)
        self._input.put(pickle.dumps(arguments))
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"worker{work.__name__}", daemon=True).start()

    def order(self, order: Order) -> None:
        """Send an order; one that does not arrive any more is lost."""
        self._input.put(encode_order(order))

    def kill(self) -> None:
        self._process.kill()

    def _write(self) -> None:
        """A worker that died before it has read is the reader's to tell."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as orders:
            while (data := self._input.get()) is not None:
                orders.write(data)
                orders.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as reports:
            for line in reports:
                self._tell(decode(line))
        status = self._process.wait()
        self._input.put(None)
        self._tell(Ended(status))


def _start(module: str, sockets: Sequence[socket]) -> subprocess.Popen[bytes]:
    """The worker's stdin stays open as long as the supervisor lives: its end is the sign for an
    orphan to stop. The terminal's Ctrl-C reaches the supervisor alone."""
    command = [sys.executable, "-m", module]
    environment = {
        "GOMP_SPINCOUNT": BARRIER_SPINS,
        "MALLOC_ARENA_MAX": MALLOC_ARENAS,
        "GLIBC_TUNABLES": MALLOC_TUNABLES,
        **os.environ,
    }
    for setting in SETTINGS:
        if setting.secret:  # comes with the settings; a worker's children need not have it
            environment.pop(setting.variable, None)
    if sys.platform == "win32":
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    with _signals_held():
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=[one.fileno() for one in sockets],
            process_group=0,
        )


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A child started meanwhile holds these signals back until it is ready to handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS | RELOAD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
