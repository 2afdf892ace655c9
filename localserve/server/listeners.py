"""The listening sockets, held by the supervisor so that they outlive a worker."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from localserve.config import Settings
from localserve.errors import ConfigInvalid

BACKLOG = 2048
"""Connections that wait while a worker is being replaced."""

PORTS_TRIED = 100

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
"""Hosts that stand for this machine alone, in either version of IP."""

_ALL_ADDRESSES = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound and listening sockets of one port, and of those that are served as well. `host` is what
    to print and to connect to.

    `warning` says what a user should know of an address that could not be taken; mostly "".
    """

    host: str
    port: int
    sockets: tuple[socket.socket, ...]
    also_ports: tuple[int, ...] = ()
    warning: str = ""
    scheme: str = "http"

    @property
    def url(self) -> str:
        return self._url(self.port)

    @property
    def also_urls(self) -> tuple[str, ...]:
        """The same at its other ports."""
        return tuple(map(self._url, self.also_ports))

    def _url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def listen_as_set(settings: Settings) -> Listeners:
    """On all ports of the settings; https where they have a certificate. Raises: ConfigInvalid."""
    return listen(
        settings.host,
        settings.port,
        also=parse_ports(settings.also_ports),
        scheme="http" if settings.tls_cert is None else "https",
    )


def listen(host: str, port: int, *, also: Sequence[int] = (), scheme: str = "http") -> Listeners:
    """Listen on `host`; on 127.0.0.1 also on ::1, which some clients try first.

    Port 0 takes any free one; those of `also` are served as well. Raises: ConfigInvalid, naming who
    holds a busy port, and what to do.
    """
    try:
        first = _bind_first(host, port)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    sockets = [first]
    try:
        sockets += [_bind_also(host, more) for more in also if not port or more != port]
        ports = [one.getsockname()[1] for one in sockets]
        warnings = [
            _listen_on_ipv6(port, scheme, sockets) for port in ports if host in LOOPBACK_NAMES
        ]
    except BaseException:
        for one in sockets:
            one.close()
        raise
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)
    return Listeners(
        shown,
        ports[0],
        tuple(sockets),
        also_ports=tuple(ports[1:]),
        warning=" ".join(filter(None, warnings)),
        scheme=scheme,
    )


def parse_ports(text: str | None) -> tuple[int, ...]:
    """`11434,1234` -> (11434, 1234), each once. Raises: ConfigInvalid."""
    ports = []
    for part in (text or "").split(","):
        if not (part := part.strip()):
            continue
        known = part.isascii() and part.isdecimal() and len(part) <= 5
        if not known or int(part) > 65535:
            raise ConfigInvalid(
                f"{part[:40]!r} is no port to listen on.",
                hint="Ports are numbers from 1 to 65535, with commas between.",
            )
        ports.append(int(part))
    return tuple(dict.fromkeys(ports))


def _bind_also(host: str, port: int) -> socket.socket:
    """A socket on one more port. Raises: ConfigInvalid."""
    try:
        return _bind(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _cannot_listen(host, port, error) from None
    who = _by_whom(host, port)
    raise ConfigInvalid(
        f"Port {port}, which is to be served as well, is in use{who}.",
        hint="End that program, or leave the port out of --also.",
    )


def _listen_on_ipv6(port: int, scheme: str, sockets: list[socket.socket]) -> str:
    """Add a socket on ::1; a warning, where another program has the port there."""
    try:
        sockets.append(_bind("::1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # else it is a machine without IPv6
            return (
                f"Port {port} of ::1 is in use{_by_whom('::1', port)}: a client that asks"
                f" for localhost may get there. {scheme}://127.0.0.1:{port} is this server."
            )
    return ""


def _bind_first(host: str, port: int) -> socket.socket:
    """A socket on `host`; for any free port one that ::1 has free as well, if there is one."""
    for _ in range(PORTS_TRIED if port == 0 and host in LOOPBACK_NAMES else 0):
        bound = _bind(host, 0)
        try:
            _bind("::1", bound.getsockname()[1]).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                bound.close()
                continue
        return bound
    return _bind(host, port)


def _bind(host: str, port: int) -> socket.socket:
    family, address = _address_of(host, port)
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


def _address_of(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigInvalid:
    if isinstance(error, socket.gaierror):
        return ConfigInvalid(
            f"There is no address {host!r} to listen on: {error.strerror}.",
            hint="--host 127.0.0.1 listens for this machine alone.",
        )
    if error.errno == errno.EADDRINUSE:
        free = _next_free(host, port)
        hint = f"--port {free} is free." if free else "Choose another --port."
        return ConfigInvalid(f"Port {port} is in use{_by_whom(host, port)}.", hint=hint)
    if error.errno == errno.EACCES:
        return ConfigInvalid(
            f"This user may not listen on port {port}.", hint="Choose a --port above 1023."
        )
    return ConfigInvalid(f"Cannot listen on {host} port {port}: {error.strerror}.")


def _by_whom(host: str, port: int) -> str:
    """' by NAME (pid N)' where the system tells it."""
    with contextlib.suppress(psutil.Error, OSError):
        address = _address_of(host, port)[1][0]
        for one in psutil.net_connections("tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and one.laddr
                and one.laddr.port == port
                and (one.laddr.ip in (address, *_ALL_ADDRESSES) or address in _ALL_ADDRESSES)
                and one.pid
            ):
                return f" by {psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""


def _next_free(host: str, port: int) -> int | None:
    hosts = (host, "::1") if host in LOOPBACK_NAMES else (host,)
    for candidate in range(port + 1, min(port + 1 + PORTS_TRIED, 65536)):
        if all(_is_free(one, candidate) for one in hosts):
            return candidate
    return None


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port).close()
    except OSError as error:
        return error.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True
