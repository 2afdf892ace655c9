"""The server for a command: the one that runs, or one that is started for as long as it is needed.
No command of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import psutil

from localserve.catalog.locate import find_model
from localserve.catalog.registry import load_registry
from localserve.cli.download import find_or_download
from localserve.cli.reach import LOAD_SECONDS, NoServer, find_server, status_of
from localserve.cli.terminal import console, errors
from localserve.cli.unwritable import OTHER_FOLDER, cannot_write
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.server.running import RunningServer, announcements_folder, running_servers

LOOK_SECONDS: Final = 0.1
END_SECONDS: Final = 20.0
SHOWN_LINES: Final = 12


class ServerFailed(LocalserveError):
    """A server that was started for a command could not begin."""

    code = "server_failed"
    description = "A server that was started for one command ended before it answered."


@contextmanager
def server_for(model: str | None, settings: Settings, port: int | None) -> Iterator[RunningServer]:
    """A server, which ends with the block if it did not run before.

    Raises: NoServer (where several run, or none at `port`), ServerFailed, UnknownModel,
    ModelUnusable.
    """
    if port is not None or running_servers(settings):
        yield find_server(settings, port)
        return
    if model is not None:  # with what is shown of a download here, not in a child's output
        registry = load_registry(settings)
        (find_or_download if console.is_terminal else find_model)(model, registry, settings)
    _check_announceable(settings)
    with _started(model, settings) as server:
        yield server


def _check_announceable(settings: Settings) -> None:
    """Raises: ServerFailed, where a server that is started could not be found."""
    folder = announcements_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ServerFailed(
            f"No server can be started for this: {cannot_write(folder, error)}", hint=OTHER_FOLDER
        ) from None


@contextmanager
def _started(model: str | None, settings: Settings) -> Iterator[RunningServer]:
    command = [sys.executable, "-m", "localserve.cli.until_stdin_ends", "up"]
    command += ["--host", "127.0.0.1", "--port", "0"]
    if settings.config_file is not None:
        command += ["--config", str(settings.config_file)]
    if settings.offline:
        command.append("--offline")
    command += ["--", model] if model is not None else []
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the answer, not for the server
        )
        try:
            with errors.status("loading the model"):
                server = _wait(process, settings, output)
            yield server
        finally:
            _end(process)
    with contextlib.suppress(OSError):
        Path(server.log).unlink()  # its port was chosen for this time only


def _wait(process: subprocess.Popen[bytes], settings: Settings, output: IO[bytes]) -> RunningServer:
    """The server, once it answers. Raises: ServerFailed."""
    deadline = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(
                f"The server ended before it answered:\n{_last_lines(output)}",
                hint="`localserve up` shows all that it says.",
            )
        for server in running_servers(settings):
            with contextlib.suppress(NoServer):
                if _descends(server.pid, process.pid) and _is_ready(server):
                    return server
        time.sleep(LOOK_SECONDS)
    raise ServerFailed(f"The server did not answer within {LOAD_SECONDS:.0f} seconds.")


def _is_ready(server: RunningServer) -> bool:
    return status_of(server, "/health/ready") == 200


def _descends(pid: int, ancestor: int) -> bool:
    """Whether one process is the other, or its child: some systems start Python through another."""
    with contextlib.suppress(psutil.Error):
        return pid == ancestor or ancestor in {one.pid for one in psutil.Process(pid).parents()}
    return False


def _last_lines(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - (64 << 10)))
    lines = output.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-SHOWN_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its worker notices by itself
        process.wait()
