"""Whether the server's ports can be had, and who has them."""

from __future__ import annotations

from collections.abc import Iterator

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import ConfigInvalid
from localserve.server.listeners import listen, parse_ports
from localserve.server.running import running_servers

NAME = "ports"


def check_ports(subject: Subject) -> Iterator[Finding]:
    """By listening there for a moment: that tells just what a start would be told."""
    settings = subject.settings
    ours = {server.port: server for server in running_servers(settings)}
    try:
        also = parse_ports(settings.also_ports)
    except ConfigInvalid as error:
        yield Finding(NAME, "problem", error.message, error.hint)
        also = ()
    for port in dict.fromkeys((settings.port, *also)):
        if port in ours:
            server = ours[port]
            yield Finding(NAME, "ok", f"{port}: localserve (pid {server.pid}) at {server.url}")
        else:
            yield from _try(settings.host, port)


def _try(host: str, port: int) -> Iterator[Finding]:
    try:
        listeners = listen(host, port)
    except ConfigInvalid as error:
        yield Finding(NAME, "problem", error.message, error.hint or None)
        return
    listeners.close()
    if listeners.warning:
        yield Finding(NAME, "warning", listeners.warning, "End that program, or choose a --port.")
    else:
        yield Finding(NAME, "ok", f"{port} of {host} is free" if port else "any free port is taken")
