"""What is said of one route. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from localserve.errors import (
    AmbiguousName,
    ContextOverflow,
    DeadlineExceeded,
    EngineFailed,
    GrammarFailed,
    GrammarInvalid,
    InvalidRequest,
    InvalidSchema,
    KeyForbidden,
    KeyInvalid,
    KeyMissing,
    LocalserveError,
    MemoryBusy,
    ModelLoading,
    ModelMalformed,
    ModelTooLarge,
    ModelUnusable,
    NotDownloaded,
    NotSupported,
    OutOfMemory,
    Overloaded,
    RateLimited,
    RouteClosed,
    StoreFailed,
    Superseded,
    TemplateFailed,
    TimedOut,
    UnknownModel,
    UnsupportedField,
    WrongTask,
)
from localserve.gateway.refusals import MediaTypeUnsupported
from localserve.server.errors import (
    ContentEncodingUnsupported,
    RequestCancelled,
    RequestTooLarge,
    RequestTooSlow,
)

Errors = tuple[type[LocalserveError], ...]

BODY: Errors = (
    InvalidRequest,
    InvalidSchema,
    RequestTooLarge,
    RequestTooSlow,
    MediaTypeUnsupported,
    ContentEncodingUnsupported,
)
"""Of any route that reads a body."""
UNUSABLE: Errors = (ModelUnusable, ModelMalformed, ModelTooLarge, NotDownloaded, OutOfMemory)
LEASE: Errors = (
    UnknownModel,
    AmbiguousName,
    NotSupported,
    WrongTask,
    Overloaded,
    MemoryBusy,
    ModelLoading,
    EngineFailed,
    *UNUSABLE,
)
"""Of any route that needs a model."""
ROUTED: Errors = (RouteClosed, TimedOut)
"""Of any route whose model may be the name of one of several."""
ANSWERS: Errors = (
    *BODY,
    *LEASE,
    *ROUTED,
    UnsupportedField,
    ContextOverflow,
    TemplateFailed,
    GrammarInvalid,
    GrammarFailed,
    DeadlineExceeded,
    Superseded,
    RequestCancelled,
)
"""Of any route that answers with text."""
AT_ONCE: Errors = (*BODY, *LEASE, *ROUTED, ContextOverflow)
KEYS: Errors = (KeyMissing, KeyInvalid, KeyForbidden, StoreFailed)
LIMITS: Errors = (RateLimited,)

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Whose form a route has. `statuses` are those that its errors have instead of the usual,
    `kinds` those of single types of error."""

    name: str
    description: str
    problem: type[BaseModel]
    statuses: Mapping[int, int] = field(default_factory=dict)
    kinds: Mapping[type[LocalserveError], int] = field(default_factory=dict)

    def status(self, kind: type[LocalserveError], usual: int) -> int:
        """Of an error that has the status `usual` elsewhere."""
        return self.kinds.get(kind, self.statuses.get(usual, usual))


@dataclass(frozen=True, slots=True)
class Declared:
    """One route: what it is for, takes and answers.

    `example` is a body that is answered with `answer`; `stream` the media type of an answer in
    pieces, `texts` those of one that is no JSON; `query` has what `?name=` may say. With
    `also_failing` an answer may have the status 503 as well.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    dialect: Dialect
    summary: str
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    example: Mapping[str, Any] | None = None
    errors: Errors = ()
    stream: str | None = None
    texts: tuple[str, ...] = ()
    query: type[BaseModel] | None = None
    also_failing: bool = False

    @property
    def url(self) -> str:
        """The path as OpenAPI writes it."""
        return self.path.replace(":path}", "}")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"{(\w+)}", self.url))

    @property
    def refused(self) -> bool:
        """Whether it is never answered."""
        return self.errors == (NotSupported,)

    @property
    def operation(self) -> str:
        """A name that generated clients give it, such as `post_chat_completions`."""
        words = re.findall(r"[a-z0-9]+", self.url.removeprefix("/v1").lower())
        native = ["native"] * (self.url in ("/completions", "/embeddings"))
        return "_".join([self.method.lower(), *native, *(words or ["greeting"])])
