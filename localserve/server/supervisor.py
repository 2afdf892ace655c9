"""The small parent: holds the sockets, starts the worker, starts it again when it dies.

llama.cpp answers a broken invariant by aborting the process it lives in. The worker is that
process; the supervisor loads no model and no web framework, so it survives. Connections that come
in between wait in the sockets' queue.

Signals, reports and deaths become events of one queue; the main thread takes them one by one and
never waits for anything else.
"""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.server.listeners import Listeners
from localserve.server.orders import Order
from localserve.server.process import RELOAD_SIGNALS, STOP_SIGNALS, Ended, WorkerProcess
from localserve.server.reports import (
    Aborting,
    DefaultChanged,
    Loaded,
    LoadFailed,
    Reloaded,
    Report,
)

CRASHES_AT_START = 3
"""So many deaths in a row before the model was loaded end the supervisor."""

GRACE_SECONDS = 10.0
"""What a worker gets beyond its drain time, before it is killed."""

LOAD_FAILED_STATUS = 3
"""A worker's exit status when it said why it cannot serve."""

REAP_SECONDS = 2.0
"""A killed process that is not gone by then is left to the system."""

RESTART_SECONDS = 1.0
"""The pause before a new worker, times the crashes in a row before the last one."""

POLL_SECONDS = 0.2 if sys.platform == "win32" else 0.5
"""A signal's handler runs between two waits only: on Windows always, elsewhere if the signal came
in the moment in which a wait begins, or on another thread."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The first signal came; running answers have `seconds` to end."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Died:
    """The worker ended by itself. `then` says what comes next: a new worker, giving up after too
    many deaths at the start, or the end that was asked for."""

    how: str
    reason: str
    then: Literal["restart", "give up", "end"]


@dataclass(frozen=True, slots=True)
class FellBack:
    """The model `failed` cannot be loaded; `name` is served instead."""

    failed: str
    name: str


@dataclass(frozen=True, slots=True)
class Killed:
    """The worker did not end in time and was killed, `seconds` after it was told to stop."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal came."""

    number: int


Event = Report | Ended | Signalled

Told = Report | Stopping | Died | FellBack | Killed
"""What whoever runs a supervisor hears of."""


class Supervisor:
    """Runs workers until told to stop. `tell` is called on the main thread and must not wait.

    `fallback` is served if the first worker cannot load `spec`, or dies of it. `owner_key` is what
    the commands of whoever started it send.
    """

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        listeners: Listeners,
        tell: Callable[[Told], None],
        *,
        fallback: ModelSpec | None = None,
        owner_key: str | None = None,
        module: str = "localserve.server.worker",
    ) -> None:
        self._settings = settings
        self._spec = spec
        self._fallback = fallback
        self._owner_key = owner_key
        self._listeners = listeners
        self._tell = tell
        self._module = module
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._reload_due = False
        self._crashes = 0
        self._served = False

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM. Main thread only.

        Returns the exit status: 0 after a drain, 1 when no worker can serve or one had to be
        killed, 128 + its number for a second signal, which ends at once.
        """
        with self._signals_taken():
            while True:
                status = self._run_worker()
                if status is None:
                    status = self._wait_before_restart((self._crashes - 1) * RESTART_SECONDS)
                if status is not None:
                    return status

    def _run_worker(self) -> int | None:
        """One worker's life; the exit status, or None where another worker is to follow."""
        try:
            worker = WorkerProcess(
                self._settings,
                self._spec,
                self._listeners.sockets,
                self._events.put,
                owner_key=self._owner_key,
                module=self._module,
            )
        except OSError as error:  # no memory, too many processes or files
            return self._count_crash(f"could not be started: {error.strerror}", "")
        if self._reload_due:
            worker.order(Order.RELOAD)
        failed, reason, stopped = False, "", math.inf
        while True:
            event = self._next_event(stopped + self._patience_seconds)
            match event:
                case None:
                    self._kill(worker)
                    self._tell(Killed(self._patience_seconds))
                    return 1
                case Ended(status):
                    return self._judge(status, failed, reason, stopped < math.inf)
                case Signalled(number) if number in RELOAD_SIGNALS:
                    self._reload_due = True
                    worker.order(Order.RELOAD)
                case Signalled(number) if stopped < math.inf:
                    self._kill(worker)
                    return 128 + number
                case Signalled():
                    stopped = time.monotonic()
                    self._tell(Stopping(self._settings.drain_seconds))
                    self._listeners.close()
                    worker.order(Order.STOP)
                case _:
                    failed = failed or isinstance(event, LoadFailed)
                    reason = event.reason if isinstance(event, Aborting) else reason
                    self._take(event)

    @property
    def _patience_seconds(self) -> float:
        return self._settings.drain_seconds + GRACE_SECONDS

    def _take(self, report: Report) -> None:
        match report:
            case Loaded(default=True):
                self._crashes, self._served, self._fallback = 0, True, None
            case Reloaded(spec):
                self._spec, self._reload_due = spec, False
            case DefaultChanged(spec):
                self._spec = spec
            case _:
                pass
        self._tell(report)

    def _judge(self, status: int, failed: bool, reason: str, stopped: bool) -> int | None:
        """What a worker's end means. A model that could be loaded before may be so again: what a
        dead worker held of a device's memory is not always free at once."""
        if failed and status == LOAD_FAILED_STATUS and (stopped or not self._served):
            return None if not stopped and self._fall_back() else 1
        if stopped and status == 0:
            return 0
        if stopped:
            self._tell(Died(describe_status(status), reason, "end"))
            return 1
        return self._count_crash(describe_status(status), reason)

    def _count_crash(self, how: str, reason: str) -> int | None:
        self._crashes += 1
        again = self._crashes < CRASHES_AT_START
        self._tell(Died(how, reason, "restart" if again else "give up"))
        return None if self._fall_back() or again else 1

    def _fall_back(self) -> bool:
        """Serve the other model from now on; False where there is none."""
        if self._fallback is None:
            return False
        self._tell(FellBack(self._spec.name, self._fallback.name))
        self._spec, self._fallback, self._crashes = self._fallback, None, 0
        return True

    def _wait_before_restart(self, seconds: float) -> int | None:
        """Wait, but for no signal to stop; the exit status if one came."""
        deadline = time.monotonic() + seconds
        while (event := self._next_event(deadline)) is not None:
            assert isinstance(event, Signalled), "without a worker there are signals only"
            if event.number not in RELOAD_SIGNALS:
                return 0
            self._reload_due = True
        return None

    def _kill(self, worker: WorkerProcess) -> None:
        worker.kill()
        deadline = time.monotonic() + REAP_SECONDS
        while (event := self._next_event(deadline)) is not None and not isinstance(event, Ended):
            pass

    def _next_event(self, deadline: float = math.inf) -> Event | None:
        """The next event; None when there is none before `deadline` on the monotonic clock."""
        while True:
            left = min(deadline - time.monotonic(), POLL_SECONDS)
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=max(0.0, left))
            if time.monotonic() >= deadline:
                return None

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        def take(number: int, frame: FrameType | None) -> None:
            self._events.put(Signalled(number))

        numbers = STOP_SIGNALS | RELOAD_SIGNALS
        before = {number: signal.signal(number, take) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def describe_status(status: int) -> str:
    """How a process ended, such as 'was killed by SIGSEGV'."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
