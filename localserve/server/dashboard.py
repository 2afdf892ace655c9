"""`GET /` for browsers: the dashboard, and the files below `/dashboard/` that it is made of.

The files lie in `localserve/dashboard/`, are few, and are read once. They hold no secret and need
no key; what they ask the server for does. Lives on the event loop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from localserve.server.errors import RouteUnknown

FOLDER: Final = Path(__file__).parent.parent / "dashboard"
PAGE: Final = "index.html"

_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SECURITY: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""Nothing but the server's own files runs, and what a model writes can become no markup."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    tag: str


class Dashboard:
    """The endpoints, over the files."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.suffix in _KINDS}

    def page(self, request: Request) -> Response:
        """The page itself."""
        return self._send(request, self._files[PAGE])

    async def file(self, request: Request) -> Response:
        """One of the files. Raises: RouteUnknown."""
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise RouteUnknown(f"There is nothing at {request.url.path}.")
        return self._send(request, file)

    def _send(self, request: Request, file: _File) -> Response:
        headers = {**SECURITY, "etag": file.tag, "cache-control": "no-cache", "vary": "Accept"}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers | {"content-type": file.kind})


def wants_page(request: Request) -> bool:
    """Whether a browser asks, for a person to look at the answer."""
    return "text/html" in request.headers.get("accept", "").casefold()


def _read(path: Path) -> _File:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, _KINDS[path.suffix], tag)
