"""`localserve stop`: end the running server, and wait until it has ended."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from localserve.cli.reach import Port, find_server
from localserve.cli.terminal import console, errors, plain
from localserve.config import read_settings
from localserve.server.running import RunningServer

EXAMPLES = """
Running answers get their time to end, as with Ctrl-C.

Examples:

  localserve stop

  localserve stop --port 9000        the server at that port

  localserve stop --timeout 120      wait for long answers

Exit status: 0 it has ended, 1 none runs or it did not end in time, 2 wrong usage.
"""

BEYOND_DRAIN_SECONDS = 15.0
"""A worker that hangs in its end is killed before that."""

POLL_SECONDS = 0.05


def stop(
    port: Port = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long to wait.", min=0.0)
    ] = None,
) -> None:
    settings = read_settings()
    server = find_server(settings, port)
    patience = settings.drain_seconds + BEYOND_DRAIN_SECONDS if timeout is None else timeout
    os.kill(server.pid, signal.SIGTERM)
    with errors.status("waiting for running answers"):
        ended = _wait(server, patience)
    if not ended:
        errors.print(
            plain(
                f"The server (process {server.pid}) has not ended within {patience:g} s. A second"
                " `localserve stop` ends it at once."
            ),
            style="red",
        )
        raise typer.Exit(1)
    console.print(plain(f"The server at {server.url} has ended."))


stop.__doc__ = f"Stop the running server.\n{EXAMPLES}"


def _wait(server: RunningServer, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while server.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
