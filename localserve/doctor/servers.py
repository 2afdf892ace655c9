"""The servers that run, and whether they are ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.server.running import RunningServer, running_servers

NAME = "servers"
ASK_SECONDS: Final = 3.0


def check_servers(subject: Subject) -> Iterator[Finding]:
    found = running_servers(subject.settings)
    if not found:
        yield Finding(NAME, "ok", "none runs; `localserve up` starts one")
    for server in found:
        yield _about(server)


def _about(server: RunningServer) -> Finding:
    import httpx2  # slow to import, and not needed without a server

    at = f"{server.url} ({server.model}, pid {server.pid})"
    look = f"localserve logs --port {server.port}"
    try:
        # The certificate is for the names that others use; this is the machine itself.
        with httpx2.Client(timeout=ASK_SECONDS, trust_env=False, verify=False) as client:
            status = client.get(server.url + "/health/ready").status_code
    except httpx2.HTTPError as error:
        message = f"{at} does not answer: {error or type(error).__name__}"
        return Finding(NAME, "problem", message, look)
    if status == 200:
        return Finding(NAME, "ok", f"{at} is ready")
    return Finding(NAME, "warning", f"{at} is not ready (HTTP {status})", look)
