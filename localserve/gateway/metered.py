"""The middleware that counts requests, and what routes use to count tokens.

Pure ASGI; lives on the event loop.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localserve.errors import RateLimited
from localserve.gateway.bucket import Buckets, BucketState, Charge, Limit
from localserve.gateway.caller import Caller, caller_of
from localserve.gateway.cross_origin import Headers
from localserve.gateway.keyring import OWNER_NAME
from localserve.gateway.limits import RateLimits
from localserve.gateway.paths import is_unmetered_path, route_path

_METER: Final = "localserve.meter"

ASSUMED_ANSWER_TOKENS: Final = 512
"""Reserved for an answer without a cap."""

BYTES_PER_TOKEN: Final = 4


class Meter:
    """What one request uses of its limits."""

    def __init__(
        self, buckets: Buckets, requests: Mapping[str, Limit], tokens: Mapping[str, Limit]
    ) -> None:
        self._buckets = buckets
        self._requests = requests
        self._tokens = tokens
        self._reserved: list[Charge] = []
        self._states: dict[str, tuple[BucketState, ...]] = {}

    async def count_request(self) -> None:
        """Raises: RateLimited."""
        await self._take("requests", _charges(self._requests, 1), 1)
        self._states["tokens"] = await self._buckets.settle(_charges(self._tokens, 0))

    async def reserve_tokens(self, tokens: int) -> None:
        """Take what the answer may need at most, or all that a bucket holds if that is less.

        Raises: RateLimited.
        """
        charges = _charges(self._tokens, tokens)
        await self._take("tokens", charges, tokens)
        self._reserved = charges

    async def settle_tokens(self, used: int) -> None:
        """Give back what was not used, or take what was used besides."""
        await self._buckets.settle(
            [replace(charge, cost=used - charge.cost) for charge in self._reserved]
        )
        self._reserved = []

    def headers(self) -> Headers:
        """What a response says of the limits that apply: of several the one with the least left."""
        found: Headers = []
        for kind, states in self._states.items():
            if not states:
                continue
            state = min(states, key=lambda one: one.remaining)
            reset = f"{state.reset_after_seconds:.3f}s"
            found += [
                (f"x-ratelimit-limit-{kind}".encode(), str(state.limit.per_minute).encode()),
                (f"x-ratelimit-remaining-{kind}".encode(), str(state.remaining).encode()),
                (f"x-ratelimit-reset-{kind}".encode(), reset.encode()),
            ]
            if kind == "requests":
                seconds = math.ceil(state.reset_after_seconds)
                found += [
                    (b"x-ratelimit-limit", str(state.limit.per_minute).encode()),
                    (b"x-ratelimit-remaining", str(state.remaining).encode()),
                    (b"x-ratelimit-reset", str(seconds).encode()),
                ]
        return found

    async def _take(self, kind: str, charges: Sequence[Charge], asked: int) -> None:
        states = self._states[kind] = await self._buckets.take(charges)
        slowest = max(states, key=lambda state: state.retry_after_seconds, default=None)
        if slowest is not None and slowest.retry_after_seconds > 0:
            rate, wait = slowest.limit.per_minute, math.ceil(slowest.retry_after_seconds)
            raise RateLimited(kind, rate, asked, slowest.remaining, wait)


class Metered:
    """Lets requests through as their caller's and their route's limits allow.

    `add_headers` is given what goes out with errors that are answered further out. Raises:
    RateLimited.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: RateLimits,
        buckets: Buckets,
        add_headers: Callable[[Scope, Headers], None],
    ) -> None:
        self.app = app
        self.limits = limits
        self.buckets = buckets
        self.add_headers = add_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = route_path(scope)
        if is_unmetered_path(path):
            await self.app(scope, receive, send)
            return
        meter = self._meter(scope, path)
        started = False

        async def send_metered(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *meter.headers()]}
            await send(message)

        try:
            await meter.count_request()
            await self.app({**scope, _METER: meter}, receive, send_metered)
        except BaseException:
            if not started:
                self.add_headers(scope, meter.headers())
            raise

    def _meter(self, scope: Scope, path: str) -> Meter:
        caller = caller_of(scope)
        if caller.name == OWNER_NAME:  # who can end the server needs no leave to look at it
            return Meter(self.buckets, {}, {})
        who = caller_id(scope, caller)
        requests = self.limits.requests_of(who, caller, path)
        return Meter(self.buckets, requests, self.limits.tokens_of(who, caller, path))


def meter_of(scope: Scope) -> Meter:
    """The meter of the request that is being answered."""
    meter = scope[_METER]
    assert isinstance(meter, Meter)
    return meter


def caller_id(scope: Scope, caller: Caller) -> str:
    """What the limits of a caller are kept under: its key, else its address; all addresses of this
    machine are one, and so are those of one network of IPv6 (64 bits)."""
    if caller.prefix_scope:
        return f"key:{caller.prefix_scope}"
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "127.0.0.1")
    except ValueError:
        return "address:other"
    if address.is_loopback:
        return "address:loopback"
    if address.version == 6:
        return f"address:{ipaddress.ip_network((int(address) >> 64 << 64, 64))}"
    return f"address:{address}"


def expected_tokens(body_bytes: int, max_tokens: int | None, choices: int) -> int:
    """What a request may use at most, before its prompt is counted."""
    answer = ASSUMED_ANSWER_TOKENS if max_tokens is None else max_tokens
    return body_bytes // BYTES_PER_TOKEN + answer * choices


def _charges(limits: Mapping[str, Limit], cost: float) -> list[Charge]:
    return [Charge(name, limit, min(cost, limit.burst)) for name, limit in limits.items()]
