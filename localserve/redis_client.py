"""The one way to a Redis: what is shared between servers, and never waited for long.

The package redis is an extra and is imported when a Redis is asked for. Lives on the event loop.
"""

from __future__ import annotations

from typing import Any, Final

from localserve.errors import ConfigInvalid

ANSWER_SECONDS: Final = 0.25
"""Redis has so long for a connection, and for an answer."""

PAUSE_SECONDS: Final = 5.0
"""After a failure it is not asked for so long."""


def redis_client(url: str) -> Any:
    """A client that connects when it is used first.

    Raises: ConfigInvalid (the package is missing, or the URL is none).
    """
    try:
        from redis.asyncio import Redis
    except ImportError:
        raise ConfigInvalid(
            "LOCALSERVE_REDIS_URL is set, and the package redis is not installed.",
            hint="`pip install 'localserve[redis]'` installs it.",
        ) from None
    try:
        return Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry=None
        )
    except ValueError as error:
        raise ConfigInvalid(
            f"LOCALSERVE_REDIS_URL is no address of a Redis: {error}.",
            hint="Write redis://HOST:6379/0, rediss://... for TLS or unix://PATH.",
        ) from None
