"""Where reports go, one after another: a thread of its own writes, so that what takes nothing (a
stopped terminal, a slow disk) holds up nobody. No command of its own."""

from __future__ import annotations

import contextlib
import queue
import threading

from localserve.cli.offer import Shown
from localserve.server.supervisor import Told

QUEUED_REPORTS = 10_000
"""So many wait for a place that takes nothing; more are counted and lost."""

CLOSE_SECONDS = 2.0
"""How long the end waits for it."""

LOST = "{} lines were lost: the terminal did not take them"


class Sink:
    """Takes reports in their order. `show` never waits and never fails."""

    def __init__(self, name: str) -> None:
        """A subclass calls this last: its thread begins."""
        self._lost = 0
        self._queue: queue.Queue[Told | Shown | None] = queue.Queue(QUEUED_REPORTS)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def show(self, report: Told | Shown) -> None:
        """Write it soon, from any thread."""
        try:
            self._queue.put_nowait(report)
        except queue.Full:
            self._lost += 1

    def close(self) -> bool:
        """Write what is left, waiting a moment for it; returns whether all of it got out."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(CLOSE_SECONDS)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (report := self._queue.get()) is not None:
            self._write(report)
            if self._lost and self._queue.empty():
                lost, self._lost = self._lost, 0
                self._write_loss(LOST.format(lost))
        self._finish()

    def _write(self, report: Told | Shown) -> None:
        """Write one report; on the sink's own thread."""
        raise NotImplementedError

    def _write_loss(self, text: str) -> None:
        """Say that reports were lost."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Nothing more comes."""
