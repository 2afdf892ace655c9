"""The small parent: holds the sockets, starts the worker, starts it again when it dies.

llama.cpp answers a broken invariant by aborting the process it lives in. The worker is that
process; the supervisor loads no model and no web framework, so it survives. Connections that come
in between wait in the sockets' queue.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.server.listeners import Listeners
from localserve.server.reports import Aborting, Loaded, LoadFailed, Report, decode

CRASHES_AT_START = 3
"""So many deaths in a row before the model was loaded end the supervisor."""

BARRIER_SPINS = "10000"
"""How often a thread of llama.cpp looks whether the others are done, before it sleeps.

OpenMP's default spins for milliseconds. That is a little faster on a machine with nothing else to
do, and a hundred times slower as soon as another program wants a core: the threads that spin keep
the one that they wait for from running. `benchmarks/LOG.md` has the figures.
"""

LOAD_FAILED_STATUS = 3
"""A worker's exit status when it said why it cannot serve."""


@dataclass(frozen=True, slots=True)
class WorkerArguments:
    """What a worker is told, pickled through its stdin."""

    settings: Settings
    spec: ModelSpec
    sockets: tuple[int | bytes, ...]


@dataclass(frozen=True, slots=True)
class Died:
    """The worker ended by itself. `again` says whether a new one is started."""

    how: str
    reason: str
    again: bool


@dataclass(frozen=True, slots=True)
class FellBack:
    """The model `failed` cannot be loaded; `name` is served instead."""

    failed: str
    name: str


Event = Report | Died | FellBack
"""All that a supervisor tells."""


class Supervisor:
    """Runs workers until told to stop. `on_report` gets all that happens.

    `fallback` is served if the first worker cannot load `spec`, or dies of it.
    """

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        listeners: Listeners,
        on_report: Callable[[Event], None],
        *,
        fallback: ModelSpec | None = None,
        module: str = "localserve.server.worker",
    ) -> None:
        self._settings = settings
        self._spec = spec
        self._listeners = listeners
        self._on_report = on_report
        self._fallback = fallback
        self._module = module
        self._worker: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._crashes = 0

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; returns the exit status. Main thread only."""
        before = {number: signal.signal(number, self._stop) for number in _stop_signals()}
        if sys.platform != "win32":
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload)
        try:
            while True:
                status, failed, reason = self._run_worker()
                if self._stopping:
                    return 0
                if failed:
                    if self._fall_back():
                        continue
                    return 1
                self._crashes += 1
                again = self._crashes < CRASHES_AT_START
                self._on_report(Died(_how(status), reason, again))
                if self._fall_back():
                    continue
                if not again:
                    return 1
                time.sleep(self._crashes - 1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run_worker(self) -> tuple[int, bool, str]:
        """One worker's life: its exit status, whether it said that it cannot serve, its reason."""
        worker = self._worker = self._start_worker()
        if self._stopping:
            worker.terminate()
        failed, reason = False, ""
        assert worker.stdout is not None
        for line in worker.stdout:
            report = decode(line)
            if isinstance(report, Loaded):
                self._crashes, self._fallback = 0, None
            elif isinstance(report, Aborting):
                reason = report.reason
            elif isinstance(report, LoadFailed):
                failed = True
            self._on_report(report)
        status = worker.wait()
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdout.close()
        return status, failed and status == LOAD_FAILED_STATUS, reason

    def _fall_back(self) -> bool:
        """Serve the other model from now on; False where there is none."""
        if self._fallback is None:
            return False
        self._on_report(FellBack(self._spec.name, self._fallback.name))
        self._spec, self._fallback, self._crashes = self._fallback, None, 0
        return True

    def _start_worker(self) -> subprocess.Popen[bytes]:
        """The worker's stdin stays open as long as the supervisor lives: its end is the sign for
        an orphan to stop."""
        command = [sys.executable, "-m", self._module]
        environment = {"GOMP_SPINCOUNT": BARRIER_SPINS, **os.environ}
        sockets = self._listeners.sockets
        handed_over: tuple[int | bytes, ...]
        if sys.platform == "win32":
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            handed_over = tuple(one.share(worker.pid) for one in sockets)
        else:
            numbers = tuple(one.fileno() for one in sockets)
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=numbers,
                process_group=0,  # the terminal's Ctrl-C reaches the supervisor alone
            )
            handed_over = numbers
        assert worker.stdin is not None
        pickle.dump(WorkerArguments(self._settings, self._spec, handed_over), worker.stdin)
        worker.stdin.flush()
        return worker

    def _stop(self, number: int, frame: FrameType | None) -> None:
        worker, again = self._worker, self._stopping
        self._stopping = True
        if worker is None or worker.poll() is not None:
            return
        if again:
            worker.kill()
        elif sys.platform != "win32":  # there the worker gets the terminal's Ctrl-C itself
            worker.terminate()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)


def _stop_signals() -> tuple[signal.Signals, ...]:
    return (signal.SIGINT, signal.SIGTERM)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
