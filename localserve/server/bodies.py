"""Reading a request's body: bounded in bytes and in time, whatever its headers promise."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from localserve.gateway.refusals import MediaTypeUnsupported
from localserve.server.errors import RequestTooLarge, RequestTooSlow

BODY_SECONDS = 60.0
"""The time that a whole body may take."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, of any content type but a form.

    Raises: MediaTypeUnsupported, RequestTooLarge, RequestTooSlow, ClientDisconnect.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/"):
        raise MediaTypeUnsupported(
            f"The content type {content_type.partition(';')[0]!r} is not supported.",
            hint="Send JSON as application/json.",
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
