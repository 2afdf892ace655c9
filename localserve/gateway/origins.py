"""Which web pages may use this server. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from localserve.errors import ConfigInvalid

_PATTERN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/]+")


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """The origins that the configuration names, and those of this machine.

    `patterns` are origins such as `https://chat.example`, in which `*` stands for anything.
    """

    patterns: tuple[str, ...] = ()

    def names(self, origin: str) -> bool:
        """Whether the configuration names it."""
        return any(fnmatchcase(origin.casefold(), pattern) for pattern in self.patterns)

    def allows(self, origin: str) -> bool:
        """Whether it is named, or a page that a program of this machine serves."""
        return is_local_origin(origin) or self.names(origin)


def parse_origins(text: str | None) -> AllowedOrigins:
    """`https://a.example, app://*` -> the two. Raises: ConfigInvalid."""
    patterns = split_list(text)
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigInvalid(
                f"LOCALSERVE_ALLOWED_ORIGINS has {pattern!r}, which is no origin.",
                hint="Write a scheme and a host, such as https://chat.example or app://*.",
            )
    return AllowedOrigins(patterns)


def split_list(text: str | None) -> tuple[str, ...]:
    """The parts between commas, without spaces around them, in small letters."""
    return tuple(part.strip().casefold() for part in (text or "").split(",") if part.strip())


def is_local_origin(origin: str) -> bool:
    """Whether a page comes from a web server of this machine, at any port."""
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        plain = not (parts.path or parts.query or parts.fragment or parts.username)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not plain:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
