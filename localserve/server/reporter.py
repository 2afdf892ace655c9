"""The worker's end of the reports: writes them, and turns log records into notes.

Nothing that fails here (a full disk, a closed terminal, a supervisor that is gone) reaches whoever
reports. A thread of its own writes; `report` is called from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import BinaryIO

from localserve.server.reports import Note, Report, encode
from localserve.telemetry.request_id import current_request_id

QUEUED_REPORTS = 10_000
"""So many wait for a supervisor that does not read; more are counted and lost."""


class Reporter:
    """Writes reports from a thread of its own, so that a stopped terminal stops no answer."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._queue: queue.Queue[Report | None] = queue.Queue(maxsize=QUEUED_REPORTS)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="reports", daemon=True)
        self._thread.start()

    def report(self, report: Report) -> None:
        try:
            self._queue.put_nowait(report)
        except queue.Full:
            self._lost += 1

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything is written, and write no more."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_seconds)
            self._thread.join(timeout_seconds)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone: nobody wants to know
            while (report := self._queue.get()) is not None:
                self._out.write(encode(report))
                if self._lost and self._queue.empty():
                    lost, self._lost = self._lost, 0
                    text = f"{lost} lines were lost: the terminal did not take them"
                    self._out.write(encode(Note(logging.WARNING, text)))
                if self._queue.empty():
                    self._out.flush()
            self._out.flush()


class ReportHandler(logging.Handler):
    """Sends log records to the supervisor as notes, with the request that they are about: the one
    that `extra` names (`request_id`), else the one that the code runs for."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            text = str(record.msg)
        request_id = getattr(record, "request_id", None) or current_request_id()
        self._reporter.report(Note(record.levelno, text, record.name, request_id))
