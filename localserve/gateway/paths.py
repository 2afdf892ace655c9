"""Which paths are open to all, and which are the administrator's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OPEN_PATHS: Final = frozenset(
    {"", "/", "/health", "/health/live", "/health/ready", "/openapi.json", "/docs"}
)
"""What tells whether the server is there, and what it can be asked: those who probe it have no key,
and a browser that opens a page sends none."""
ADMIN_PATHS: Final = frozenset({"/api/pull", "/api/delete"})
"""What changes the server below the paths of another wire format."""


def route_path(scope: Mapping[str, Any]) -> str:
    """The path below the place where the application is mounted, without `/v1`."""
    path = str(scope["path"])
    root = str(scope.get("root_path", "")).rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path.removeprefix(root)
    return path.removeprefix("/v1") if path == "/v1" or path.startswith("/v1/") else path


def is_open_path(path: str) -> bool:
    """Whether it answers without a key: health, the greeting, what errors mean, what the API is
    like, and the files of the pages for browsers."""
    return path in OPEN_PATHS or path.startswith(("/errors/", "/docs/", "/dashboard/"))


MONITORING_PATHS: Final = frozenset({"/metrics", "/health/details"})
"""What tells how the server does: of all callers together, so it is not for each of them."""


def is_monitoring_path(path: str) -> bool:
    """Whether it takes a key of the scope monitor, or admin. No rate limit holds there: one would
    hide what is to be seen when it matters."""
    return path in MONITORING_PATHS


EVENTS_PATH: Final = "/admin/activity/events"
"""Where the dashboard listens: it is answered for as long as somebody looks."""

WATCHED_PATHS: Final = frozenset({"/admin/activity", EVENTS_PATH})
"""What is asked for again and again, to see how the server does."""


def is_unmetered_path(path: str) -> bool:
    """Whether no rate limit holds there."""
    return is_open_path(path) or is_monitoring_path(path) or path in WATCHED_PATHS


def is_admin_path(path: str) -> bool:
    """Whether it takes a key of the scope admin."""
    return path == "/admin" or path.startswith("/admin/") or path in ADMIN_PATHS
