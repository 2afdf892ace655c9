"""The command line: one file per command; parses and prints, decides nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""


OUTPUT_FAILED = 74
"""Exit status where what was to be printed could not be written, as sysexits.h counts it; no
command means something else by it."""


def main() -> None:
    """The `localserve` command. Exit status: 0 done, 1 failed, 2 wrong usage, 74 the output cannot
    be written, 130 after Ctrl-C."""
    _open_standard_streams()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # what fails at the interpreter's end is told by nobody
    except KeyboardInterrupt:  # while a command was still being imported
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        _give_up_output(error)
        sys.exit(OUTPUT_FAILED)


def _give_up_output(error: OSError) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # for what is still to be flushed
    with contextlib.suppress(OSError):
        print(f"error The output cannot be written: {error.strerror}.", file=sys.stderr)


def _run() -> None:
    from localserve.cli.app import app
    from localserve.cli.terminal import print_error
    from localserve.errors import InvalidRequest, LocalserveError, UsageInvalid

    try:
        app(prog_name="localserve")
    except LocalserveError as error:
        print_error(error)
        sys.exit(2 if isinstance(error, UsageInvalid | InvalidRequest) else 1)


def _open_standard_streams() -> None:
    """Where a program was started with some of them closed, the next files opened would take their
    numbers, and be written to as if they were a terminal."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = open(os.devnull, mode)  # noqa: SIM115 (as long as the process lives)
            os.set_inheritable(nothing.fileno(), True)
            setattr(sys, name, nothing)
