"""The main program of children that ask llama.cpp something and print one JSON document.

A child because llama.cpp, or the driver of a graphics card below it, may abort, crash or hang.
Standard output is for the document alone: whatever a library prints goes to standard error, whose
last line tells the parent why there is no document. The child ends when its standard input does:
then nobody waits for it any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

ORPHANED_STATUS = 75
"""Exit status of a child whose parent is gone."""


def run(program: Callable[[Sequence[str]], object]) -> NoReturn:
    """Give `program` the command-line arguments, print what it returns as JSON, and exit."""
    answer = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # a debugger would be started, for seconds
    try:
        _start_llama_cpp()
        document = program(sys.argv[1:])
        with os.fdopen(answer, "w", encoding="utf-8") as out:
            json.dump(document, out)
    except Exception:
        traceback.print_exc()
        _exit(1)
    _exit(0)


def _exit(status: int) -> NoReturn:
    """End at once: drivers are known to hang or crash while a process unloads them."""
    sys.stderr.flush()
    os._exit(status)


def _start_llama_cpp() -> None:
    from localserve.llama import library

    library.start()  # keeps its log to itself
    library.watch_abort(lambda reason: print(reason, file=sys.stderr, flush=True))


def _watch_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os._exit(ORPHANED_STATUS)
