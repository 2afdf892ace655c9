"""Reports as JSON, one line each, for programs that collect logs. No command of its own."""

from __future__ import annotations

import logging
import time

from localserve.cli.offer import Fetching, Question, Shown
from localserve.cli.sink import Sink
from localserve.cli.terminal import Lasting
from localserve.server.log_lines import told_line
from localserve.server.reports import Note
from localserve.server.supervisor import Told


class JsonLog(Sink):
    """Writes reports of the server at `url` to one stream, whole lines at once."""

    def __init__(self, url: str, stream: Lasting) -> None:
        self._url = url
        self._stream = stream
        super().__init__("log")

    def close(self) -> bool:
        return super().close() and self._stream.empties()

    def _write(self, report: Told | Shown) -> None:
        if isinstance(report, Fetching | Question):
            return  # for whoever sits at the terminal
        line = told_line(report, time.time(), self._url)
        if line is not None:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _write_loss(self, text: str) -> None:
        self._write(Note(logging.WARNING, text))
