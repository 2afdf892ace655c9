"""Reading a request's body: bounded in bytes and in time, whatever its headers promise."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from localserve.gateway.refusals import MediaTypeUnsupported
from localserve.server.errors import ContentEncodingUnsupported, RequestTooLarge, RequestTooSlow

BODY_SECONDS = 60.0
"""The time that a whole body may take."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, of any content type but a form, and not compressed.

    Raises: MediaTypeUnsupported, ContentEncodingUnsupported, RequestTooLarge, RequestTooSlow,
    ClientDisconnect.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/"):
        raise MediaTypeUnsupported(
            f"The content type {content_type.partition(';')[0]!r} is not supported.",
            hint="Send JSON as application/json.",
        )
    if codings := _codings(request):
        raise ContentEncodingUnsupported(
            f"Bodies with the content encoding {', '.join(codings)!r} are not read.",
            hint="Send the JSON as it is, without Content-Encoding.",
        )
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > max_bytes:
        raise _too_large(int(promised), max_bytes)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, max_bytes)
    except TimeoutError:
        raise RequestTooSlow(
            f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
        ) from None


def _codings(request: Request) -> list[str]:
    """What was done to the body, in that order. Source: RFC 9110, section 8.4."""
    named = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    return [coding for name in named if (coding := name.strip()) not in ("", "identity")]


async def _read(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(len(body), max_bytes)
    return bytes(body)


def _too_large(size: int, max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body has {size:,} bytes or more; at most {max_bytes:,} are accepted.",
        hint="Send less, or start the server with a larger LOCALSERVE_MAX_BODY_BYTES.",
    )
