"""One GET as untrusted addresses deserve it: redirects looked at, the token left behind, https.

Knows nothing of GGUF and of the hub; what a refusal means is the caller's. Blocking.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
MAX_REDIRECTS: Final = 8

BUSY_STATUSES: Final = (408, 429, 500, 502, 503, 504)
"""Answers that may be others in a while."""

_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "localserve"}


class Busy(Exception):
    """The server cannot answer now. `refusal` is the error to raise when nobody waits longer,
    `after_seconds` how long it asks to wait (None: it does not say)."""

    def __init__(self, status: int, refusal: Exception, after_seconds: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.refusal = refusal
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is asked: who asks (`headers`), what raises for a refusal, and which other
    origin than this machine may be plain http."""

    refused: Callable[[httpx2.Response], object]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    plain_http_to: str | None = None


def ask(
    client: httpx2.Client,
    url: str,
    access: Access,
    more: Mapping[str, str],
    *,
    passed: tuple[int, ...] = (),
) -> httpx2.Response:
    """Send one request and follow it; the body is not read yet, `history` are the redirects.

    Statuses of `passed` are no refusals. Raises: Busy, ModelUnusable, httpx2.TransportError, and
    what `access.refused` raises.
    """
    check_address(url, access.plain_http_to)
    response = _follow(client, url, _HEADERS | dict(access.headers) | dict(more), access)
    if response.status_code in passed:
        return response
    try:
        access.refused(response)
    except Exception as refusal:
        response.close()
        if response.status_code in BUSY_STATUSES:
            seconds = retry_after_seconds(response.headers)
            raise Busy(response.status_code, refusal, seconds) from refusal
        raise
    return response


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait, in either form of Retry-After, or as RateLimit tells."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, OverflowError):  # an offset from UTC of any length
        found = re.search(r"\bt=(\d{1,9})\b", headers.get("RateLimit", ""))
        return float(found[1]) if found else None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _follow(
    client: httpx2.Client, url: str, headers: Mapping[str, str], access: Access
) -> httpx2.Response:
    """Follow redirects; the library leaves the authorization behind at another origin."""
    request = client.build_request("GET", url, headers=headers, timeout=_timeout())
    history: list[httpx2.Response] = []
    for _ in range(MAX_REDIRECTS):
        response = client.send(request, stream=True, follow_redirects=False)
        if response.next_request is None:
            response.history = history
            return response
        response.close()
        history.append(response)
        request = response.next_request
        _check_redirect(url, str(request.url), access.plain_http_to)
    raise ModelUnusable(
        f"{shown(url)} sends on to other addresses more than {MAX_REDIRECTS} times.",
        hint="Give the address that the file is really at.",
    )


def check_address(url: str, plain_http_to: str | None) -> None:
    """Raises: ModelUnusable, unless it is https, or http to this machine or to `plain_http_to`."""
    found = urlsplit(url)
    if found.scheme == "https" and found.hostname:
        return
    plain = urlsplit(plain_http_to).netloc if plain_http_to else None
    if found.scheme == "http" and (found.netloc == plain or _is_loopback(found.hostname or "")):
        return
    raise ModelUnusable(
        f"{shown(url)} is not fetched: only https addresses are, and http ones of this machine.",
        hint="Use the https address; for a hub of your own set HF_ENDPOINT.",
    )


def _check_redirect(url: str, target: str, plain_http_to: str | None) -> None:
    """Raises: ModelUnusable, where a redirect leads from https to http, or to no web address."""
    check_address(target, plain_http_to)
    if url.startswith("https:") and not target.startswith("https:"):
        raise ModelUnusable(
            f"{shown(url)} sends on to {shown(target)}, which is not encrypted.",
            hint="Give the https address that the file is really at.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def encoding_of(response: httpx2.Response) -> str:
    """The content encoding: "identity" where the bytes are those of the file."""
    return str(response.headers.get("Content-Encoding", "identity")).strip().lower() or "identity"


def _timeout() -> httpx2.Timeout:
    import httpx2

    return httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)


def shown(url: str) -> str:
    """The address without what may be secret in it."""
    found = urlsplit(url)
    return f"{found.scheme}://{found.hostname or ''}{found.path}"
