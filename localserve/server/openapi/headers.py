"""Which headers responses have, as they are described. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localserve.errors import AccessRefused, LocalserveError, OutOfMemory, RateLimited, Unavailable
from localserve.gateway.paths import is_unmetered_path, route_path
from localserve.server.openapi.declared import Declared

NUMBER = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}


def _header(description: str, schema: Mapping[str, Any], required: bool = False) -> dict[str, Any]:
    return {"description": description, "schema": schema, "required": required}


HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-Id": _header(
        "What the log calls the request: its own id, if it had one.", TEXT, True
    ),
    "Retry-After": _header("Seconds after which trying again may help.", NUMBER, True),
    "WWW-Authenticate": _header("That a key is needed.", TEXT, True),
    "X-RateLimit-Limit": _header("Requests a minute, where a limit applies.", NUMBER),
    "X-RateLimit-Remaining": _header("Requests that are left of them.", NUMBER),
    "X-RateLimit-Reset": _header("Seconds until all are there again.", NUMBER),
    "X-Localserve-Route": _header("Where a route was named: who was asked, and why.", TEXT),
    "X-Localserve-Cache": _header(
        "Where the response cache is on: what it had.",
        {"type": "string", "enum": ["hit", "miss", "bypass"]},
    ),
}
"""By name. `X-RateLimit-...` also exist as OpenAI has them, `-Requests` and `-Tokens`."""

_LATER = (Unavailable, RateLimited, OutOfMemory)


def headers_of(
    one: Declared, status: int, kinds: Iterable[type[LocalserveError]]
) -> dict[str, Mapping[str, str]]:
    """Those of one response; `kinds` are the errors that it tells, none if it is an answer."""
    kinds = tuple(kinds)
    names = ["X-Request-Id"]
    if kinds and all(issubclass(kind, _LATER) for kind in kinds):
        names.append("Retry-After")
    if kinds and all(issubclass(kind, AccessRefused) for kind in kinds) and status == 401:
        names.append("WWW-Authenticate")
    if not is_unmetered_path(route_path({"path": one.path})):
        names += ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
    if one.body is not None and not kinds and not one.path.startswith("/admin/"):
        names += ["X-Localserve-Route", "X-Localserve-Cache"]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
