"""What pages in a browser may do: CORS, preflights, and no change on behalf of other sites.

Programs that are no browser send neither Origin nor Sec-Fetch-Site and are not concerned. Pure
ASGI; lives on the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.gateway.origins import AllowedOrigins
from localserve.gateway.paths import is_admin_path, is_monitoring_path, route_path
from localserve.gateway.refusals import CrossSite, MediaTypeUnsupported

Headers = list[tuple[bytes, bytes]]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site for the server's own pages and for what a user typed."""

METHODS: Final = b"GET, POST, DELETE, OPTIONS"
PREFLIGHT_SECONDS: Final = 600

_VARY: Final = (b"vary", b"Origin")
_EXPOSED: Final = (b"access-control-expose-headers", b"*")
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


class CrossOrigin:
    """Answers preflights, refuses what other sites' pages may not do, tells browsers what they may.

    `add_headers` is given what goes out with the response, whatever it will be. Raises: CrossSite,
    MediaTypeUnsupported.
    """

    def __init__(
        self, app: ASGIApp, origins: AllowedOrigins, add_headers: Callable[[Scope, Headers], None]
    ) -> None:
        self.app = app
        self.origins = origins
        self.add_headers = add_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        path = route_path(scope)
        admin = is_admin_path(path) or is_monitoring_path(path)
        origin = headers.get("origin")
        own = origin is None or _host_of(origin) == headers.get("host", "").casefold()
        welcome = own or self._welcomes(origin or "", admin)
        if origin is not None and welcome:
            allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
            self.add_headers(scope, [allowed, _VARY, _EXPOSED])
        if origin is not None and _is_preflight(scope, headers):
            if not welcome:
                raise _cross_site(origin)
            await _answer_preflight(headers, send)
            return
        if scope["method"] not in SAFE_METHODS:
            if not welcome or (origin is None and not _is_own_site(headers)):
                raise _cross_site(origin)
            if admin or origin is not None or "sec-fetch-site" in headers:
                _check_json(headers)
        await self.app(scope, receive, send)

    def _welcomes(self, origin: str, admin: bool) -> bool:
        """Administration takes more than to be served by some program of this machine."""
        return self.origins.names(origin) if admin else self.origins.allows(origin)


def _host_of(origin: str) -> str:
    return origin.partition("://")[2].casefold()


def _is_own_site(headers: Mapping[str, str]) -> bool:
    return headers.get("sec-fetch-site", "none") in OWN_SITES


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _check_json(headers: Mapping[str, str]) -> None:
    """What a form or a script can send without a preflight is refused. Raises:
    MediaTypeUnsupported."""
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    kind = headers.get("content-type", "").partition(";")[0].strip().casefold()
    if (has_body or kind) and kind != "application/json":
        raise MediaTypeUnsupported(
            f"The content type is {kind[:60]!r}; only application/json is taken here.",
            hint="Send the header `content-type: application/json`.",
        )


def _cross_site(origin: str | None) -> CrossSite:
    return CrossSite(
        f"A page of {(origin or 'another site')[:100]!r} may not use this server.",
        hint="Add its origin to LOCALSERVE_ALLOWED_ORIGINS, or use a program that is no browser.",
    )


async def _answer_preflight(headers: Mapping[str, str], send: Send) -> None:
    """Source: Fetch, section 3.2; Private Network Access, section 3.1 (its preflight)."""
    answer: Headers = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        (b"content-length", b"0"),
    ]
    asked = headers.get("access-control-request-headers", "")
    if _HEADER_NAMES.fullmatch(asked):
        answer.append((b"access-control-allow-headers", asked.encode()))
    if headers.get("access-control-request-private-network") == "true":
        answer.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 200, "headers": answer})
    await send({"type": "http.response.body"})
