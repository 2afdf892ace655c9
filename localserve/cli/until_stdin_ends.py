"""`localserve up` for as long as stdin stays open: it ends with whoever started it, however that
one ends. A program for `localserve run`, not for users."""

from __future__ import annotations

import os
import signal
import sys
import threading

from localserve.cli import main


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    main()
