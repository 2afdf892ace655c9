"""What the caller's key means for models: which of them it may use. Lives on the event loop."""

from __future__ import annotations

from starlette.types import Scope

from localserve.errors import KeyForbidden
from localserve.gateway.caller import Caller, caller_of
from localserve.gateway.cross_origin import Headers
from localserve.manager import ModelManager
from localserve.server.records import record_of


def note_caller(scope: Scope, caller: Caller) -> None:
    """The log says whose the request was."""
    record_of(scope).caller = caller.name


def add_headers(scope: Scope, headers: Headers) -> None:
    """These go out with the response, whatever it will be."""
    record_of(scope).headers.extend(headers)


async def check_model(scope: Scope, manager: ModelManager, name: str) -> None:
    """Refuse a model that the caller's key is not for, before it is loaded.

    A key may name a model by any of its names. Raises: KeyForbidden, UnknownModel.
    """
    caller = caller_of(scope)
    if not caller.models:
        return
    spec = (await manager.report_on(name)).spec
    if not caller.may_use(spec.names):
        raise KeyForbidden(
            f"The key {caller.name!r} is not for the model {spec.name!r}.",
            hint=f"It is for {', '.join(caller.models)}.",
        )
