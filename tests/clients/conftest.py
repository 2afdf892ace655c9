"""Real clients against a real server; what each of them showed is printed at the end.

Run by `scripts/test --clients`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from localserve.connect.client import Client
from localserve.connect.clients import find_client
from localserve.connect.files import Memory, plan_write, write
from localserve.connect.places import Surroundings
from localserve.connect.served import Served, ServedModel
from tests.clients.installed import Installed
from tests.e2e.conftest import Server

CONTEXT_TOKENS = 32_768

Row = tuple[str, str, str, str]
Shown = Callable[[Installed, str, str], None]
Connect = Callable[[str, Served, Path], Client]

_rows: list[Row] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _rows:
        return
    table = Table(title="clients", box=None, pad_edge=False)
    for title in ("client", "version", "model", "what was shown"):
        table.add_column(title)
    for row in sorted(_rows):
        table.add_row(*row)
    terminalreporter.write_line("")
    Console(file=sys.stdout, width=110).print(table)


@pytest.fixture
def shown() -> Shown:
    """Notes a line of the table: the client, the model, what it did."""
    return lambda client, model, what: _rows.append((client.name, client.version, model, what))


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the built-in model, with all the context it was trained for."""
    command = [sys.executable, "-m", "localserve", "up", "--port", "0"]
    command += ["--ctx", str(CONTEXT_TOKENS), "--parallel", "2"]
    server = Server(command, tmp_path_factory.mktemp("home"), {})
    try:
        assert server.url
        yield server
    finally:
        server.kill()


@pytest.fixture
def served(builtin: Server) -> Served:
    """What clients have to know of it."""
    model = ServedModel("localserve-tiny", CONTEXT_TOKENS, ("completion", "insert"))
    return Served(builtin.url, (model,))


@pytest.fixture
def connect(tmp_path: Path) -> Connect:
    """Writes a client's files into a home folder, as `localserve connect NAME --write` does."""

    def connect_one(name: str, served: Served, home: Path) -> Client:
        client = find_client(name)
        home.mkdir(parents=True, exist_ok=True)
        memory = Memory(tmp_path / "memory", client)
        write(plan_write(client, served, Surroundings("linux", home, {}), memory), memory)
        return client

    return connect_one
