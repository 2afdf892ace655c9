"""A worker that serves nothing: what it tells depends on the model's name. For tests only.

`unusable` cannot be loaded, `deadly` kills the process, all others are loaded; it then waits to be
stopped.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from localserve.server.reports import Loaded, LoadFailed, encode
from localserve.server.supervisor import LOAD_FAILED_STATUS, WorkerArguments
from localserve.testing import FakeBackend


def main() -> None:
    arguments: WorkerArguments = pickle.load(sys.stdin.buffer)
    name = arguments.spec.name
    if name == "unusable":
        sys.stdout.buffer.write(encode(LoadFailed("The file is cut off.", "Get it again.")))
        sys.exit(LOAD_FAILED_STATUS)
    if name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdout.buffer.write(encode(Loaded(FakeBackend(name=name).facts, 0.1, 1)))
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
