"""The keys that count now: which secret is whose, never older than half a second.

Lives on the event loop; the file is read in a worker.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from localserve.errors import KeyInvalid, KeyMissing, StoreFailed
from localserve.gateway.caller import ANYONE, Caller
from localserve.gateway.keys import Key, StoredSecret, digest_of, handle_of, time_text
from localserve.gateway.store import KeyStore

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 0.5
"""So old may be what is known of the file."""

READ_SECONDS: Final = 2.0
"""A file that takes longer to read is not waited for where something is known of it."""

ENVIRONMENT_NAME: Final = "(LOCALSERVE_API_KEY)"
OWNER_NAME: Final = "(owner)"
"""Names of callers that no key of the store can have."""

_NOBODYS = bytes(32)


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Keys that are in no file, with all rights. `owner` is what the commands of this machine's
    user send, new for every server; it alone makes no key needed."""

    environment: str | None = field(default=None, repr=False)
    owner: str | None = field(default=None, repr=False)


class Keyring:
    """Tells whose a request is. With `open_without_keys` none is needed while there is none."""

    def __init__(
        self,
        store: KeyStore,
        fixed: FixedKeys = FixedKeys(),
        *,
        open_without_keys: bool,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._fixed = [
            (Caller(name, name), digest_of(secret.encode()))
            for name, secret in (
                (ENVIRONMENT_NAME, fixed.environment),
                (OWNER_NAME, fixed.owner),
            )
            if secret is not None
        ]
        self._needed_always = not open_without_keys or fixed.environment is not None
        self._clock = clock
        self._monotonic = monotonic
        self._keys: tuple[Key, ...] | None = None
        self._secrets: dict[str, tuple[Key, StoredSecret]] = {}
        self._read_at = -FRESH_SECONDS
        self._reading: asyncio.Task[None] | None = None
        self._failing = False

    async def identify(self, presented: Sequence[bytes]) -> Caller:
        """Whose these secrets are, if one of them is good.

        Raises: KeyMissing, KeyInvalid, StoreFailed (it is not known which keys there are).
        """
        keys = await self._current_keys()
        problem = ""
        for secret in presented:
            found = self._find(secret)
            if isinstance(found, Caller):
                return found
            problem = problem or found
        if not self._needed_always and all(key.revoked_at is not None for key in keys):
            return ANYONE
        if not presented:
            raise KeyMissing(
                "This server needs an API key, and none was sent.",
                hint="Send `Authorization: Bearer KEY`; `localserve keys create NAME` makes one.",
            )
        raise KeyInvalid(
            problem or "The API key is wrong.",
            hint="`localserve keys list` shows which there are; `keys create NAME` makes one.",
        )

    def look_again(self) -> None:
        """The file was changed just now."""
        self._read_at = self._monotonic() - FRESH_SECONDS

    def _find(self, secret: bytes) -> Caller | str:
        """Whose it is, or what is wrong with it; takes the same time for each that is wrong."""
        digest = digest_of(secret)
        right = [one for one, known in self._fixed if hmac.compare_digest(known, digest)]
        held = self._secrets.get(handle_of(secret) or "")
        is_held = hmac.compare_digest(held[1].digest if held else _NOBODYS, digest)
        if right:
            return right[0]
        return self._judge(*held) if held and is_held else ""

    def _judge(self, key: Key, stored: StoredSecret) -> Caller | str:
        now = self._clock()
        if key.revoked_at is not None:
            return f"The API key {key.name!r} was revoked at {time_text(key.revoked_at)}."
        if key.expires_at is not None and key.expires_at <= now:
            return f"The API key {key.name!r} expired at {time_text(key.expires_at)}."
        if stored.valid_until is not None and stored.valid_until <= now:
            until = time_text(stored.valid_until)
            return f"The API key {key.name!r} was rotated; the old one was valid until {until}."
        return Caller(
            key.name,
            key.id,
            key.scope == "admin",
            key.models,
            key.requests_per_minute,
            key.tokens_per_minute,
            priority=key.priority,
            is_monitor=key.scope == "monitor",
        )

    async def _current_keys(self) -> tuple[Key, ...]:
        if self._monotonic() - self._read_at >= FRESH_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(), name="read the keys")
            timeout = READ_SECONDS if self._keys is not None else None
            await asyncio.wait({self._reading}, timeout=timeout)
            if self._keys is None:
                self._reading.result()
        assert self._keys is not None
        return self._keys

    async def _read(self) -> None:
        """What is known stays where the file fails, or vanishes: nobody is let in by that.

        Raises: StoreFailed, where nothing is known.
        """
        began = self._monotonic()
        try:
            keys = await asyncio.to_thread(self._store.read)
            if self._keys and not keys:
                raise StoreFailed(
                    f"{self._store.path} is gone; its keys count until the server ends.",
                    retry_after_seconds=30,
                )
        except StoreFailed as error:
            if not self._failing:
                log.error("%s", error)
            self._failing = True
            if self._keys is None:
                raise
        else:
            self._failing = False
            self._keys = keys
            self._secrets = {one.handle: (key, one) for key in keys for one in key.secrets}
        self._read_at = began
