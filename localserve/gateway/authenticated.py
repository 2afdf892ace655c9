"""The middleware that knows whose each request is. Pure ASGI; lives on the event loop."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from localserve.gateway.caller import Caller, with_caller
from localserve.gateway.credentials import presented_keys
from localserve.gateway.keyring import Keyring
from localserve.gateway.paths import is_admin_path, is_monitoring_path, is_open_path, route_path


class Authenticated:
    """Lets a request through with its caller, which `caller_of` gives from then on.

    `on_caller` is told of it. Raises: KeyMissing, KeyInvalid, KeyForbidden, StoreFailed.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, on_caller: Callable[[Scope, Caller], None]
    ) -> None:
        self.app = app
        self.keyring = keyring
        self.on_caller = on_caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Whatever else a server may speak needs a key as well.
        if scope["type"] == "lifespan" or is_open_path(path := route_path(scope)):
            await self.app(scope, receive, send)
            return
        caller = await self.keyring.identify(presented_keys(scope["headers"]))
        self.on_caller(scope, caller)
        if is_monitoring_path(path):
            caller.check_monitoring()
        elif is_admin_path(path):
            caller.check_admin()
        else:
            caller.check_asking()
        await self.app(with_caller(scope, caller), receive, send)
