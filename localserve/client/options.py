"""How a client speaks to a server: what both clients can be told. Pure."""

from __future__ import annotations

import ssl
from typing import TypedDict
from urllib.parse import urlsplit

import httpx2

from localserve.client.exchange import Target
from localserve.client.retrying import Retrying

TIMEOUT_SECONDS = 30.0
POOL_CONNECTIONS = 100


class ClientOptions(TypedDict, total=False):
    """All optional.

    api_key                 where the server has keys
    timeout_seconds         to connect, to find a free connection, and for the server's silence
                            where it has nothing to compute (30)
    answer_timeout_seconds  for its silence while it computes, loads or downloads (no bound)
    retrying                how often and how patiently it is tried again
    connections             open at once at most (100); more requests wait for one
    verify                  certificates: a context, or False for none
    """

    api_key: str | None
    timeout_seconds: float
    answer_timeout_seconds: float
    retrying: Retrying
    connections: int
    verify: ssl.SSLContext | bool


class HttpOptions(TypedDict):
    """What httpx2 is told of them."""

    limits: httpx2.Limits
    verify: ssl.SSLContext | bool
    trust_env: bool


def target_of(url: str, options: ClientOptions) -> Target:
    """Raises: ValueError, if the address is no http(s) URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a server; write http://127.0.0.1:8080")
    return Target(
        url=url.rstrip("/").removesuffix("/v1"),
        key=options.get("api_key"),
        timeout_seconds=options.get("timeout_seconds", TIMEOUT_SECONDS),
        answer_timeout_seconds=options.get("answer_timeout_seconds"),
        retrying=options.get("retrying", Retrying()),
    )


def http_options(url: str, options: ClientOptions) -> HttpOptions:
    """Proxies of the environment are for other machines than this one."""
    connections = options.get("connections", POOL_CONNECTIONS)
    return {
        "limits": httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        "verify": options.get("verify", True),
        "trust_env": urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"),
    }
