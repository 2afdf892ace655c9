"""A client of a running localserve, sync and async, typed.

    from localserve import Client

    with Client() as client:
        print(client.chat("What is the capital of France?").text)

Knows the wire alone: nothing of the server is imported. `calls.py` says what is asked and how
answers are read, `exchange.py` when it is tried again; `clients.py` and `async_clients.py` only
move bytes.
"""

from localserve.client.async_clients import AsyncClient, AsyncStream
from localserve.client.calls import ChatOptions, LoadOptions
from localserve.client.clients import Client, Stream
from localserve.client.errors import (
    AuthenticationFailed,
    BadRequest,
    ClientError,
    Conflict,
    ConnectionFailed,
    ContextTooLong,
    FitFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestFailed,
    ServerFailed,
    StreamBroken,
    TimedOut,
    Unavailable,
    UnreadableAnswer,
)
from localserve.client.reading import collect
from localserve.client.retrying import Retrying
from localserve.client.values import (
    ChatAnswer,
    ChatChunk,
    Embeddings,
    Fit,
    LoadedModel,
    Message,
    Model,
    PullProgress,
    ToolCall,
    ToolCallPiece,
    Usage,
)

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "AuthenticationFailed",
    "BadRequest",
    "ChatAnswer",
    "ChatChunk",
    "ChatOptions",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionFailed",
    "ContextTooLong",
    "Embeddings",
    "Fit",
    "FitFailed",
    "LoadOptions",
    "LoadedModel",
    "Message",
    "Model",
    "NotFound",
    "PermissionDenied",
    "PullProgress",
    "RateLimited",
    "RequestFailed",
    "Retrying",
    "ServerFailed",
    "Stream",
    "StreamBroken",
    "TimedOut",
    "ToolCall",
    "ToolCallPiece",
    "Unavailable",
    "UnreadableAnswer",
    "Usage",
    "collect",
]
