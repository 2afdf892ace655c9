"""The server's log, in files that do not grow for ever. No command of its own."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from localserve.config import Settings
from localserve.telemetry.rotation import RotatingFile


class LogFile:
    """A text stream into `path`. No line that fails is told: a full disk is no reason to fill the
    terminal, and none to stop. With `dated`, each line begins with its time."""

    def __init__(self, path: Path, settings: Settings, *, dated: bool) -> None:
        self._file = RotatingFile(
            path, max_bytes=settings.log_file_bytes, keep_days=settings.log_days
        )
        self._dated = dated
        self._line = ""

    def open(self) -> OSError | None:
        """Begin the file before there are lines; what forbids it, if anything does."""
        try:
            self._file.open()
        except OSError as error:
            return error
        return None

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            with contextlib.suppress(OSError):
                self._file.write(f"{_now()} {line}" if self._dated else line)
        return len(text)

    def flush(self) -> None:
        """Whole lines are in the file already."""

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        self._file.close()


def _now() -> str:
    """Such as '2026-11-26 03:29:22,123', in local time."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now % 1 * 1000):03}"
