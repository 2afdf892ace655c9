"""Health checks of models that other servers have: which of these answer. Event loop only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from localserve.backends.remote import RemoteBackend
from localserve.manager import ModelManager
from localserve.server.checks import Finding, NamedCheck
from localserve.server.vitals import ENGINE_SECONDS


def remote_checks(manager: ModelManager) -> Iterator[NamedCheck]:
    """One for each such model that was asked for; that none of its servers answers is fatal for
    the default one only."""
    for backend in manager.backends():
        if isinstance(backend, RemoteBackend):
            name = backend.facts.name
            yield NamedCheck(f"remote {name}", _check(backend, name == manager.spec.name))


def _check(backend: RemoteBackend, default: bool) -> Callable[[], Awaitable[Finding]]:
    async def check() -> Finding:
        replies = await backend.look_at_servers(ENGINE_SECONDS)
        servers = [
            {
                "base_url": one.base_url,
                "answers": one.problem is None,
                "circuit": one.state,
                "running": one.running,
            }
            for one in replies
        ]
        problems = [f"{one.base_url}: {one.problem}" for one in replies if one.problem]
        return Finding(
            "; ".join(problems) or None,
            fatal=default and len(problems) == len(replies),
            details={"servers": servers},
        )

    return check
