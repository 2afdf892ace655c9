"""Who can reach an address, and whether that is safe. Blocking disk access; any thread."""

from __future__ import annotations

import ipaddress
from typing import Final

from localserve.config import Settings
from localserve.errors import ConfigInvalid
from localserve.gateway.limits import rate_limits
from localserve.gateway.origins import parse_origins
from localserve.gateway.redis_buckets import buckets_for
from localserve.gateway.store import key_store

MIN_KEY_CHARACTERS: Final = 16
"""Of LOCALSERVE_API_KEY, which people think up themselves."""


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can connect to what listens there."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_gateway(settings: Settings) -> None:
    """Everything that a server would stumble over. Raises: ConfigInvalid, StoreFailed."""
    check_exposure(settings)
    parse_origins(settings.allowed_origins)
    rate_limits(settings)
    buckets_for(settings)


def check_exposure(settings: Settings) -> None:
    """Refuse to let other machines in without a key. Raises: ConfigInvalid, StoreFailed."""
    given = settings.api_key
    if given is not None and len(given) < MIN_KEY_CHARACTERS:
        raise ConfigInvalid(
            f"LOCALSERVE_API_KEY has {len(given)} characters; it needs {MIN_KEY_CHARACTERS}.",
            hint="`openssl rand -hex 24` makes one.",
        )
    keys = key_store(settings).read()
    if is_loopback(settings.host) or given is not None:
        return
    if not any(key.revoked_at is None for key in keys):
        raise ConfigInvalid(
            f"Listening on {settings.host} lets other machines in, and there is no API key yet.",
            hint=(
                "`localserve keys create NAME` makes one (or set LOCALSERVE_API_KEY); --host"
                " 127.0.0.1 listens for this machine alone."
            ),
        )
