"""API keys as values: what one may do, and how its secret is made and recognized.

A secret is `ls-HANDLE-RANDOM`: the handle says which one it is and may be shown, the 256 random
bits are never kept. The secret's SHA-256 is: nobody guesses that many bits, so a slow hash would
protect nothing, and make a flood of wrong keys costly for the server. Pure; any thread.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from localserve.chat import Priority
from localserve.errors import InvalidRequest

KeyScope = Literal["inference", "admin", "monitor"]
"""`inference` may ask models, `admin` may also change what this server does and has; `monitor` may
only look at how it does."""

SCOPES: Final[tuple[KeyScope, ...]] = ("inference", "admin", "monitor")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET = re.compile(rb"ls-([0-9a-f]{8})-[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What is kept of a secret. `valid_until` (seconds since the epoch) is set by a rotation."""

    handle: str
    digest: bytes = field(repr=False)
    valid_until: float | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key. It keeps its `id` when it is rotated; no `models` means all of them.

    Times are seconds since the epoch; None means never. The newest secret comes first. Limits a
    minute go before those of the configuration. Requests that name no priority have the key's, if
    it has one.
    """

    id: str
    name: str
    scope: KeyScope
    models: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    secrets: tuple[StoredSecret, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    priority: Priority | None = None

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """What it is good for at that time."""
        if self.revoked_at is not None:
            return "revoked"
        expired = self.expires_at is not None and self.expires_at <= now
        return "expired" if expired else "active"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with a secret that was just made: the only time that it is known."""

    key: Key
    secret: str = field(repr=False)


def new_secret() -> tuple[str, StoredSecret]:
    """A secret that nobody can guess, and what is kept of it."""
    handle = secrets.token_hex(4)
    secret = f"ls-{handle}-{secrets.token_urlsafe(32)}"
    return secret, StoredSecret(handle, digest_of(secret.encode()))


def digest_of(secret: bytes) -> bytes:
    """The 32 bytes that are kept in its place."""
    return hashlib.sha256(secret).digest()


def handle_of(secret: bytes) -> str | None:
    """The part that says which secret it is; None for what was not made by `new_secret`."""
    match = _SECRET.fullmatch(secret)
    return match.group(1).decode() if match else None


def check_name(name: str) -> str:
    """The name, if it is one. Raises: InvalidRequest."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:80]!r} cannot be the name of a key.",
            param="name",
            hint="Use 1 to 64 letters, digits, dots, dashes and underscores.",
        )
    return name


def key_document(key: Key, now: float) -> dict[str, object]:
    """All that may be told of a key, as JSON; times in RFC 3339."""
    return {
        "name": key.name,
        "id": key.id,
        "state": key.state(now),
        "scope": key.scope,
        "models": list(key.models),
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "priority": key.priority.word if key.priority is not None else None,
        "created_at": time_text(key.created_at),
        "expires_at": time_text(key.expires_at),
        "revoked_at": time_text(key.revoked_at),
        "secrets": [
            {"begins_with": f"ls-{one.handle}-", "valid_until": time_text(one.valid_until)}
            for one in key.secrets
        ],
    }


def time_text(seconds: float | None) -> str | None:
    """RFC 3339, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
