"""The server's log: what the terminal shows, with the date, in files that do not grow for ever."""

from __future__ import annotations

import contextlib
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_BYTES = 4 << 20
OLD_FILES = 3


class LogFile:
    """A text stream into `path`; a full file becomes `path`.1. Nothing that fails is told."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _QuietHandler(
            path, maxBytes=LOG_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True
        )
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._handler.emit(logging.makeLogRecord({"msg": line}))
        return len(text)

    def flush(self) -> None:
        self._handler.flush()

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        self._handler.close()


class _QuietHandler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the base's name)
        """A full disk is no reason to fill the terminal."""
