"""Whether the server's ports can be had, and who has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import ConfigInvalid
from localserve.server.listeners import listen, parse_ports
from localserve.server.running import running_servers

NAME = "ports"

OLLAMA_PORT: Final = 11434
"""Where programs look for Ollama; `--also` serves there, too."""


def check_ports(subject: Subject) -> Iterator[Finding]:
    """By listening there for a moment: that tells just what a start would be told."""
    settings = subject.settings
    try:
        also = parse_ports(settings.also_ports)
    except ConfigInvalid as error:
        yield Finding(NAME, "problem", error.message, error.hint or None)
        also = ()
    ours = {server.port: server for server in running_servers(settings)}
    serving = {port for one in ours.values() for port in (one.port, *also)}
    for port in dict.fromkeys((settings.port, *also)):
        if port in ours:
            message = f"{port}: localserve (pid {ours[port].pid}) at {ours[port].url}"
            yield Finding(NAME, "ok", message)
        elif port not in serving:
            yield _about(settings.host, port)
    if OLLAMA_PORT not in (settings.port, *also):
        yield _about_ollama(settings.host)


def _about(host: str, port: int) -> Finding:
    try:
        listeners = listen(host, port)
    except ConfigInvalid as error:
        return Finding(NAME, "problem", error.message, error.hint or None)
    listeners.close()
    if listeners.warning:
        advice = "End that program, or choose another --port."
        return Finding(NAME, "warning", listeners.warning, advice)
    return Finding(NAME, "ok", f"{port}: free, on {host}" if port else "any free one is taken")


def _about_ollama(host: str) -> Finding:
    """Nobody asked for this one, so that it is taken is no fault."""
    found = _about(host, OLLAMA_PORT)
    if found.level == "ok":
        return Finding(NAME, "ok", f"{OLLAMA_PORT} (Ollama's): free; `up --also {OLLAMA_PORT}`")
    message = f"{found.message.rstrip('.')} (Ollama's; only `up --also {OLLAMA_PORT}` needs it)"
    return Finding(NAME, "ok", message)
