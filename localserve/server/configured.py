"""What models.toml says, read and checked before a server starts and when it reads it again.

Loads neither a model nor a web framework. Blocking; any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from localserve.catalog.registry import Registry, load_registry
from localserve.catalog.routes import RouteTable, load_routes
from localserve.config import Settings
from localserve.gateway.exposure import check_gateway
from localserve.gateway.tls import check_tls
from localserve.server.observing import check_observing


@dataclass(frozen=True, slots=True)
class Configured:
    """What requests can name: the models, and the routes that stand for one of several."""

    models: Registry
    routes: RouteTable = field(default_factory=RouteTable)


def read_configured(settings: Settings) -> Configured:
    """Raises: ConfigInvalid, which names the file and the line."""
    return Configured(load_registry(settings), load_routes(settings))


def check_startable(settings: Settings) -> Configured:
    """Read it, and refuse settings that a server would stumble over.

    Raises: ConfigInvalid, StoreFailed.
    """
    configured = read_configured(settings)
    check_gateway(settings)
    check_observing(settings)
    check_tls(settings)
    return configured
