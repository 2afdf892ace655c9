"""`localserve logs`: what the server has written, and with -f what it writes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from localserve.cli.reach import NoServer, Port
from localserve.cli.terminal import plain
from localserve.config import Settings, read_settings
from localserve.server.running import LOG_FOLDER, running_servers
from localserve.telemetry.rotation import last_lines

EXAMPLES = """
The log lies in data/logs (see `localserve paths`), a file for each port. Without a running server
the newest one is shown.

Examples:

  localserve logs                the last 50 lines

  localserve logs -n 1000

  localserve logs -f             and what comes, until Ctrl-C

Exit status: 0 done, 1 there is no log, 2 wrong usage.
"""

POLL_SECONDS = 0.2


def logs(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many of the last lines.")
    ] = 50,
    port: Port = None,
) -> None:
    path = _find(read_settings(), port)
    try:
        for line in read_log(path, lines, (lambda: True) if follow else (lambda: False)):
            typer.echo(plain(line).plain)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


logs.__doc__ = f"Show the server's log.\n{EXAMPLES}"


def read_log(path: Path, last: int, wait: Callable[[], bool]) -> Iterator[str]:
    """The last lines of a log, older files included, then what is added as long as `wait()`, also
    behind a change of files."""
    stream = path.open(encoding="utf-8", errors="replace")
    lines = [line.rstrip("\n") for line in deque(stream, maxlen=last)]
    yield from last_lines(path, last - len(lines))
    yield from lines
    rest = ""
    try:
        while wait():
            if text := stream.readline():
                rest += text
                if rest.endswith("\n"):
                    yield rest.rstrip("\n")
                    rest = ""
            elif _is_other(path, stream.fileno()):
                stream.close()
                stream = path.open(encoding="utf-8", errors="replace")
            else:
                time.sleep(POLL_SECONDS)
    finally:
        stream.close()


def _is_other(path: Path, number: int) -> bool:
    """Whether the file of that name is not the open one any more."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(number))
    except OSError:
        return False


def _find(settings: Settings, port: int | None) -> Path:
    """The log of the server that runs, else the newest one. Raises: NoServer."""
    folder = settings.data_dir / LOG_FOLDER
    running = [Path(one.log) for one in running_servers(settings) if port in (None, one.port)]
    all_logs = running or list(
        folder.glob("server-*.log" if port is None else f"server-{port}.log")
    )
    there = [path for path in all_logs if path.is_file()]
    if not there:
        raise NoServer(f"There is no log in {folder}.", hint="`localserve up` writes one.")
    if len(running) > 1:
        listed = ", ".join(path.name for path in running)
        raise NoServer(f"Several servers run: {listed}.", hint="Say which with --port PORT.")
    return max(there, key=lambda path: path.stat().st_mtime)
