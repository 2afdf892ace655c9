"""The command line: one file per command; parses and prints, decides nothing."""

from __future__ import annotations

import sys


def main() -> None:
    """The `localserve` command. Exit status: 0 done, 1 failed, 2 wrong usage."""
    from localserve.cli.app import app
    from localserve.cli.terminal import print_error
    from localserve.errors import LocalserveError

    try:
        app(prog_name="localserve")
    except LocalserveError as error:
        print_error(error)
        sys.exit(1)
