"""Which rate limits apply to a request: its caller's, and those of its route. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from localserve.config import Settings
from localserve.errors import ConfigInvalid
from localserve.gateway.bucket import Limit
from localserve.gateway.caller import Caller
from localserve.gateway.origins import split_list

_ROUTE: Final = re.compile(r"(/[a-z0-9/_.-]*)=([0-9]{1,9})?(?:/([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests and tokens a minute; None is no limit."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """All limits. `default` is for each caller whose key does not say, `routes` for each caller and
    path (without `/v1`) besides. `burst_seconds` is how much of a rate can be used at once."""

    default: Rates = Rates()
    routes: Mapping[str, Rates] = field(default_factory=dict)
    burst_seconds: float = 60.0

    def requests_of(self, who: str, caller: Caller, path: str) -> dict[str, Limit]:
        """The buckets of requests that apply, by name."""
        own = caller.requests_per_minute or self.default.requests
        route = self._route(path)
        return self._limits(who, "requests", own, route, self._rates(route).requests)

    def tokens_of(self, who: str, caller: Caller, path: str) -> dict[str, Limit]:
        """The buckets of tokens that apply, by name."""
        own = caller.tokens_per_minute or self.default.tokens
        route = self._route(path)
        return self._limits(who, "tokens", own, route, self._rates(route).tokens)

    def _limits(
        self, who: str, kind: str, own: int | None, route: str | None, of_route: int | None
    ) -> dict[str, Limit]:
        found = {f"{kind}:{who}": own, f"{kind}:{who}:{route}": of_route}
        return {
            bucket: Limit(rate, max(1.0, rate * self.burst_seconds / 60))
            for bucket, rate in found.items()
            if rate
        }

    def _route(self, path: str) -> str | None:
        """The longest path of `routes` that it is or lies below."""
        below = [one for one in self.routes if path == one or path.startswith(f"{one}/")]
        return max(below, key=len, default=None)

    def _rates(self, route: str | None) -> Rates:
        return self.routes[route] if route is not None else Rates()


def rate_limits(settings: Settings) -> RateLimits:
    """The limits of the configuration. Raises: ConfigInvalid."""
    return RateLimits(
        Rates(settings.requests_per_minute, settings.tokens_per_minute),
        parse_routes(settings.route_limits),
        settings.burst_seconds,
    )


def parse_routes(text: str | None) -> dict[str, Rates]:
    """`/chat/completions=60/20000, /admin=10` -> requests and tokens by path.

    Raises: ConfigInvalid.
    """
    found = {}
    for part in split_list(text):
        match = _ROUTE.fullmatch(part.replace(" ", ""))
        rates = match and Rates(_positive(match[2]), _positive(match[3]))
        if not match or rates == Rates():
            raise ConfigInvalid(
                f"LOCALSERVE_ROUTE_LIMITS has {part!r}, which is no limit.",
                hint="Write PATH=REQUESTS/TOKENS, such as /chat/completions=60/20000 or /admin=10.",
            )
        assert rates is not None
        found[match[1].removeprefix("/v1").rstrip("/")] = rates
    return found


def _positive(text: str | None) -> int | None:
    return int(text) or None if text else None
