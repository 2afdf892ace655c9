"""`GET /openapi.json`, `/docs` and the files of that page, which needs nothing from elsewhere.

Lives on the event loop; the files are read in a worker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from localserve.server.errors import RouteUnknown

VIEWER = Path(__file__).parent / "viewer"

FILES: Final[Mapping[str, str]] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "begin.js": "text/javascript",
    "LICENSE": "text/plain",
    "NOTICE": "text/plain",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
}

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""Scripts are the page's own files, and it asks nobody but this server. The viewer writes style
attributes and has images in its style sheet."""

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def documentation_routes(version: str) -> list[BaseRoute]:
    """The description, the page that shows it, and the page's files."""

    async def describe(request: Request) -> Response:
        root = str(request.scope.get("root_path", "")).rstrip("/")
        text = await asyncio.to_thread(_described, version, root or "/")
        return Response(text, media_type="application/json")

    async def page(request: Request) -> Response:
        return await _file("index.html", "text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["file"]
        if name not in FILES:
            raise RouteUnknown(f"There is nothing at {request.url.path}.")
        return await _file(name, FILES[name])

    return [
        Route("/openapi.json", describe, methods=["GET"]),
        Route("/docs", page, methods=["GET"]),
        Route("/docs/{file}", file, methods=["GET"]),
    ]


@lru_cache(maxsize=4)
def _described(version: str, root: str) -> str:
    """As text; it is long in the making, and the same each time."""
    from localserve.server.openapi.document import openapi_document  # here: few ask for it

    return json.dumps(openapi_document(version, root))


async def _file(name: str, media_type: str) -> Response:
    content = await asyncio.to_thread((VIEWER / name).read_bytes)
    return Response(content, media_type=media_type, headers=dict(HEADERS))
