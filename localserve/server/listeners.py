"""The listening sockets, held by the supervisor so that they outlive a worker."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from dataclasses import dataclass

import psutil

from localserve.errors import ConfigInvalid

BACKLOG = 2048
"""Connections that wait while a worker is being replaced."""

PORTS_TRIED = 100


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound and listening sockets of one port. `host` is what to print and to connect to."""

    host: str
    port: int
    sockets: tuple[socket.socket, ...]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def listen(host: str, port: int) -> Listeners:
    """Listen on `host`; on 127.0.0.1 also on ::1, which some clients try first.

    Port 0 takes any free one. Raises: ConfigInvalid, naming who holds a busy port and the next
    free one.
    """
    try:
        first = _bind(host, port)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    taken: int = first.getsockname()[1]
    sockets = [first]
    if host in ("127.0.0.1", "localhost"):
        with contextlib.suppress(OSError):  # a machine without IPv6, or another server there
            sockets.append(_bind("::1", taken))
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)
    return Listeners(shown, taken, tuple(sockets))


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigInvalid:
    if isinstance(error, socket.gaierror):
        return ConfigInvalid(
            f"There is no address {host!r} to listen on: {error.strerror}.",
            hint="--host 127.0.0.1 listens for this machine alone.",
        )
    if error.errno == errno.EADDRINUSE:
        free = _next_free(host, port)
        hint = f"--port {free} is free." if free else "Choose another --port."
        return ConfigInvalid(f"Port {port} is in use{_by_whom(port)}.", hint=hint)
    if error.errno == errno.EACCES:
        return ConfigInvalid(
            f"This user may not listen on port {port}.", hint="Choose a --port above 1023."
        )
    return ConfigInvalid(f"Cannot listen on {host} port {port}: {error.strerror}.")


def _by_whom(port: int) -> str:
    """' by NAME (pid N)' where the system tells it."""
    with contextlib.suppress(psutil.Error, OSError, PermissionError):
        for one in psutil.net_connections("tcp"):
            if (
                one.laddr
                and one.laddr.port == port
                and one.status == psutil.CONN_LISTEN
                and one.pid
            ):
                return f" by {psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""


def _next_free(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + 1 + PORTS_TRIED, 65536)):
        with contextlib.suppress(OSError):
            _bind(host, candidate).close()
            return candidate
    return None
