"""Which servers run on this machine: each one's small file in the data folder. Any thread.

A file whose process is gone, or whose number another program has got meanwhile, counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import psutil

from localserve.config import Settings
from localserve.versions import software

FOLDER: Final = "servers"
LOG_FOLDER: Final = "logs"
MAX_BYTES: Final = 64 << 10
CLOCK_SECONDS: Final = 2.0
"""The times at which a process began, as written down and as read, differ by less."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server: its supervisor's process, and where it answers. Seconds since the epoch.

    `owner_key` is an API key of all rights for whoever can read the file: its owner alone.
    `software` is what it was started from; "" where it did not say.
    """

    pid: int
    process_began: float
    started_at: float
    url: str
    port: int
    model: str
    log: str
    owner_key: str = field(repr=False)
    software: str = ""

    @property
    def alive(self) -> bool:
        """Whether it is still that process which has the number."""
        try:
            process = psutil.Process(self.pid)
            began = process.create_time()
            return (
                abs(began - self.process_began) < CLOCK_SECONDS
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except (psutil.Error, ValueError):
            return False


def announcements_folder(settings: Settings) -> Path:
    """Where each server that runs has its file."""
    return settings.data_dir / FOLDER


def log_path(settings: Settings, port: int) -> Path:
    """Where the server of that port writes its log."""
    return settings.data_dir / LOG_FOLDER / f"server-{port}.log"


@contextmanager
def announced(
    settings: Settings, url: str, port: int, model: str, owner_key: str
) -> Iterator[OSError | None]:
    """This process is a server, for as long as the block lasts. A folder that cannot be written
    to is no error, but given to the block: the server is then found by nobody."""
    server = RunningServer(
        pid=os.getpid(),
        process_began=psutil.Process().create_time(),
        started_at=time.time(),
        url=url,
        port=port,
        model=model,
        log=str(log_path(settings, port)),
        owner_key=owner_key,
        software=software(),
    )
    path = announcements_folder(settings) / f"{port}.json"
    problem = None
    try:
        _write(server, path)
    except OSError as error:
        problem = error
    try:
        yield problem
    finally:
        if (found := _read(path)) is not None and found.pid == server.pid:
            with contextlib.suppress(OSError):
                path.unlink()


def _write(server: RunningServer, path: Path) -> None:
    """For its user alone, whole or not at all. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{server.pid}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
        json.dump(asdict(server), stream)
    os.replace(new, path)


def running_servers(settings: Settings) -> tuple[RunningServer, ...]:
    """All servers of this data folder that run, by port."""
    paths = sorted(announcements_folder(settings).glob("*.json"))
    found = [server for path in paths if (server := _read(path)) is not None and server.alive]
    return tuple(sorted(found, key=lambda server: server.port))


def _read(path: Path) -> RunningServer | None:
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(MAX_BYTES))
        server = RunningServer(**document)
    except (OSError, ValueError, TypeError):
        return None
    texts = ("url", "log", "model", "owner_key", "software")
    kinds = [("pid", int), ("port", int), *((name, str) for name in texts)]
    numbers = (server.process_began, server.started_at)
    right = all(isinstance(getattr(server, name), kind) for name, kind in kinds)
    return server if right and all(isinstance(one, int | float) for one in numbers) else None
