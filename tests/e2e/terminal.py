"""A program on a terminal of its own, which a test reads and types at. Not on Windows."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.conftest import WAIT_SECONDS

pty = pytest.importorskip("pty", reason="Windows has no such terminals")


class Terminal:
    """`text` is all that the program showed, without colours and movements."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        preexec_fn: Callable[[], None] | None = None,
    ) -> None:
        self._window, terminal = pty.openpty()
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=preexec_fn,
        )
        os.close(terminal)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._window, 1 << 16)
            except OSError:  # the last one who had it open is gone
                return
            self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode("utf-8", "replace"))

    def type(self, text: str) -> None:
        os.write(self._window, text.encode())

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """The first match, once there are so many."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found := list(re.finditer(pattern, self.text))) < times:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.02)
        return found[0]

    def wait(self) -> int:
        """Until the program has ended and all that it wrote is here; its exit status."""
        status = self.process.wait(WAIT_SECONDS)
        self._reader.join(WAIT_SECONDS)
        return status

    def kill(self) -> None:
        self.process.kill()  # what it has started notices by itself
        self.process.wait()
        self._reader.join(WAIT_SECONDS)
        os.close(self._window)
