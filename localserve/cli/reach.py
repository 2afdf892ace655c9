"""Finding the running server, and asking it. No command of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.server.running import RunningServer, running_servers

if TYPE_CHECKING:
    import httpx2

ASK_SECONDS = 10.0
LOAD_SECONDS = 900.0

Port = Annotated[int | None, typer.Option(help="The port of the server, if several run.")]
"""The option that all commands for running servers have."""


class NoServer(LocalserveError):
    """There is no running server, or there are several."""

    code = "no_server"
    description = "No server of this data folder runs, or several do."


def find_server(settings: Settings, port: int | None) -> RunningServer:
    """The server that runs, or the one at `port`. Raises: NoServer."""
    servers = running_servers(settings)
    at_port = [server for server in servers if port in (None, server.port)]
    listed = ", ".join(f"{server.port} ({server.model})" for server in servers)
    if not at_port and servers:
        raise NoServer(f"No server runs at port {port}.", hint=f"Running: {listed}.")
    if not at_port:
        raise NoServer("No server is running.", hint="`localserve up` starts one.")
    if len(at_port) > 1:
        raise NoServer(f"{len(at_port)} servers run: {listed}.", hint="Say which with --port PORT.")
    return at_port[0]


def ask(
    server: RunningServer,
    method: str,
    path: str,
    body: object = None,
    timeout_seconds: float = ASK_SECONDS,
) -> Any:
    """What the server answers, as JSON. Raises: LocalserveError, with the server's own words."""
    import httpx2  # here, for all other commands would wait for it

    try:
        with client_of(server.owner_key, timeout_seconds) as client:
            response = client.request(method, server.url + path, json=body)
        document = response.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise _no_answer(server, error) from None
    if not isinstance(document, dict) or ("detail" not in document and response.is_error):
        raise NoServer(f"What answers at {server.url} is no localserve.")
    if response.is_error:
        raise LocalserveError(str(document["detail"]))
    return document


def status_of(server: RunningServer, path: str, key: str | None = None) -> int:
    """The status with which the server answers a GET by anyone, or by whoever has the key.

    Raises: NoServer.
    """
    import httpx2

    try:
        with client_of(key, ASK_SECONDS) as client:
            return client.get(server.url + path).status_code
    except httpx2.HTTPError as error:
        raise _no_answer(server, error) from None


def client_of(key: str | None, timeout_seconds: float) -> httpx2.Client:
    """A client for servers of this machine: no proxy counts, and no certificate, which is for the
    names that others use."""
    import httpx2

    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(timeout=timeout_seconds, trust_env=False, verify=False, headers=headers)


def _no_answer(server: RunningServer, error: Exception) -> NoServer:
    return NoServer(
        f"The server at {server.url} does not answer: {error or type(error).__name__}.",
        hint="`localserve logs` says what it is doing; `localserve stop` ends it.",
    )
