"""What can go wrong for a client, as one tree.

ClientError
├── ConnectionFailed            no connection to the server, or it was cut before an answer
├── TimedOut                    the server said nothing for longer than the client waits
├── StreamBroken                an answer ended in the middle
├── UnreadableAnswer            what answered does not speak localserve's API
├── FitFailed                   `fit` could not tell
└── RequestFailed               the server answered with an error
    ├── BadRequest              400, 405, 413, 415, 422, 501: the request cannot be satisfied
    │   └── ContextTooLong      the prompt has more tokens than the context
    ├── AuthenticationFailed    401: no API key, or a wrong one
    ├── PermissionDenied        403: the key has no right to this
    ├── NotFound                404: no such model, key or route
    ├── Conflict                409: the model is in use, or the key exists
    ├── RateLimited             429
    ├── Unavailable             503: overloaded, loading, or out of memory
    └── ServerFailed            any other 5xx

`RequestFailed.code` is the code of the server's own error (`GET /errors/CODE` says what it means).
"""

from __future__ import annotations

from collections.abc import Mapping

from localserve.errors import ContextOverflow


class ClientError(Exception):
    """Root of the tree. `request_id` is what the server's log calls the request."""

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id


class ConnectionFailed(ClientError):
    """No connection to the server, or it was cut before an answer."""


class TimedOut(ClientError):
    """The server said nothing for longer than the client waits."""


class StreamBroken(ClientError):
    """An answer ended in the middle; `code` is the server's, where it said why."""

    def __init__(self, message: str, *, request_id: str = "", code: str = "") -> None:
        super().__init__(message, request_id=request_id)
        self.code = code


class UnreadableAnswer(ClientError):
    """What answered does not speak localserve's API."""


class FitFailed(ClientError):
    """`fit` could not tell; the message says why."""


class RequestFailed(ClientError):
    """The server answered with an error. `param` names the field at fault, if one is."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        param: str | None = None,
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class BadRequest(RequestFailed):
    """The request cannot be satisfied as it stands."""


class ContextTooLong(BadRequest):
    """The prompt has more tokens than the context."""


class AuthenticationFailed(RequestFailed):
    """An API key is needed, or the one that was sent is wrong."""


class PermissionDenied(RequestFailed):
    """The API key has no right to this."""


class NotFound(RequestFailed):
    """There is no such model, key or route."""


class Conflict(RequestFailed):
    """The model is in use, or a key of that name exists."""


class RateLimited(RequestFailed):
    """More was asked for than a minute allows."""


class Unavailable(RequestFailed):
    """The server cannot answer now; trying again may help."""


class ServerFailed(RequestFailed):
    """Something failed inside the server."""


_BY_CODE: Mapping[str, type[RequestFailed]] = {ContextOverflow.code: ContextTooLong}

_BY_STATUS: Mapping[int, type[RequestFailed]] = {
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    501: BadRequest,
    503: Unavailable,
}


def error_type(status: int, code: str) -> type[RequestFailed]:
    """The type of an error answer."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    return kind or (ServerFailed if status >= 500 else BadRequest)
