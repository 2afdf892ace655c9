"""What is answered without end hears that the server ends: a drain would wait for it.

The web server puts the event into the state that ASGI hands to every request. Lives on the event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import Scope

_KEY: Final = "localserve.draining"


def tell_of_draining(state: MutableMapping[str, Any], draining: asyncio.Event) -> None:
    """Let every request know `draining`, which is set when the drain begins."""
    state[_KEY] = draining


def draining_of(scope: Scope) -> asyncio.Event | None:
    """What is set when the drain begins; None where the application is mounted in another one,
    whose server tells nobody."""
    draining = scope.get("state", {}).get(_KEY)
    return draining if isinstance(draining, asyncio.Event) else None
