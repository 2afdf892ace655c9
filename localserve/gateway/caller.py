"""Who asks, as all layers above the gateway know it. Never a secret. Frozen; any thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from localserve.chat import Priority
from localserve.errors import KeyForbidden


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `name` is for people; "" is whoever needs no key.

    `prefix_scope` is opaque and its own for each key: kept prefixes are shared within one only. No
    `models` means all of them, no limits a minute those of the configuration, no priority that of
    the kind of request. A monitor may look at how the server does, and nothing else.
    """

    name: str = ""
    prefix_scope: str = ""
    is_admin: bool = True
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    priority: Priority | None = None
    is_monitor: bool = False

    def may_use(self, names: Iterable[str]) -> bool:
        """Whether a model of these names is one of its own."""
        own = {model.casefold() for model in self.models}
        return not own or any(name.casefold() in own for name in names)

    def check_asking(self) -> None:
        """Raises: KeyForbidden."""
        if self.is_monitor:
            raise KeyForbidden(
                f"The key {self.name!r} is for /metrics and /health/details alone.",
                hint="`localserve keys create NAME` makes one that may ask models.",
            )

    def check_monitoring(self) -> None:
        """Raises: KeyForbidden."""
        if not (self.is_monitor or self.is_admin):
            raise KeyForbidden(
                f"The key {self.name!r} may ask models, not look at how this server does.",
                hint="It takes one made by `localserve keys create NAME --scope monitor`.",
            )

    def check_admin(self) -> None:
        """Raises: KeyForbidden."""
        self.check_asking()
        if not self.is_admin:
            raise KeyForbidden(
                f"The key {self.name!r} may ask models, not change or look into this server.",
                hint="It takes one made by `localserve keys create NAME --scope admin`.",
            )


ANYONE: Final = Caller()
"""Whoever asks while no key is needed."""

_KEY: Final = "localserve.caller"


def with_caller(scope: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """The ASGI scope, told whose request it is."""
    return {**scope, _KEY: caller}


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Whose request it is, as `with_caller` told. Raises: KeyError (it was not told)."""
    caller = scope[_KEY]
    assert isinstance(caller, Caller)
    return caller
