"""Paths as clients write them: doubled slashes and a slash at the end mean nothing."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASHES = re.compile("/{2,}")


class NormalPaths:
    """Takes doubled and trailing slashes out of the path before it is routed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": normal_path(scope["path"])}
        await self.app(scope, receive, send)


def normal_path(path: str) -> str:
    """`//v1//models/` -> `/v1/models`."""
    return _SLASHES.sub("/", f"/{path}").rstrip("/") or "/"
