"""The servers that run: whether they are ready, and whether they are what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.server.running import RunningServer, running_servers
from localserve.versions import software

NAME = "servers"
ASK_SECONDS: Final = 2.0


def check_servers(subject: Subject) -> Iterator[Finding]:
    found = running_servers(subject.settings)
    if not found:
        yield Finding(NAME, "ok", "none runs; `localserve up` starts one")
    for server in found:
        yield _about(server)
        if server.software and server.software != software():
            message = (
                f"{server.url} was started from {server.software}; {software()} is installed now"
            )
            advice = "Start it again: what is installed now is not what serves."
            yield Finding(
                NAME, "warning", message, advice, (f"localserve stop --port {server.port}",)
            )


def _about(server: RunningServer) -> Finding:
    import httpx2  # slow to import, and not needed without a server

    at = f"{server.url} ({server.model}, pid {server.pid})"
    look = (f"localserve logs --port {server.port}",)
    try:
        # The certificate is for the names that others use; this is the machine itself.
        with httpx2.Client(timeout=ASK_SECONDS, trust_env=False, verify=False) as client:
            status = client.get(server.url + "/health/ready").status_code
    except httpx2.HTTPError as error:
        message = f"{at} does not answer: {error or type(error).__name__}"
        return Finding(NAME, "problem", message, commands=look)
    if status == 200:
        return Finding(NAME, "ok", f"{at} is ready")
    return Finding(NAME, "warning", f"{at} is not ready (HTTP {status})", commands=look)
