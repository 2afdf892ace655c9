"""Where requests carry keys. Pure; headers are untrusted bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

HEADERS: Final = (b"authorization", b"x-api-key", b"api-key")


def presented_keys(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """The keys of a request: at most one of each header, without doubles.

    Clients send several, one of them a placeholder, so each counts. Of a header that comes more
    than once the first counts. Source: RFC 6750, section 2.1, for `Authorization: Bearer KEY`.
    """
    first: dict[bytes, bytes] = {}
    for name, value in headers:
        first.setdefault(name.lower(), value)
    found = []
    for name in HEADERS:
        value = first.get(name, b"").strip(b" \t")
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            value = rest.strip(b" \t") if scheme.lower() == b"bearer" else b""
        if value and value not in found:
            found.append(value)
    return tuple(found)
