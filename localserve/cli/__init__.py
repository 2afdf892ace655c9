"""The command line: one file per command; parses and prints, decides nothing."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""


def main() -> None:
    """The `localserve` command. Exit status: 0 done, 1 failed, 2 wrong usage, 130 after Ctrl-C."""
    _open_standard_streams()
    try:
        _run()
    except KeyboardInterrupt:  # while a command was still being imported
        sys.exit(INTERRUPTED)


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
