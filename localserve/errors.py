"""The errors that localserve raises on purpose, as one tree. Knows nothing of HTTP.

LocalserveError
├── InvalidRequest          the request cannot be satisfied as it stands
│   ├── InvalidSchema       fields of the request have the wrong type or are out of bounds
│   ├── UnsupportedField    a known field that would change the answer and is not supported
│   ├── NotSupported        this server never does that
│   ├── ContextOverflow     the prompt is larger than the context
│   ├── WrongTask           the model was made for another task
│   │   └── NoFillMiddle    the model was not trained to fill in the middle
│   ├── GrammarInvalid      the schema or grammar of the answer cannot be honoured
│   ├── GrammarFailed       the answer could not go on within its grammar
│   └── TemplateFailed      the model's chat template refused the messages
├── UnknownModel            no model of that name is served
│   └── AmbiguousName       several models on this disk could be meant
├── Unavailable             cannot be answered now, may be in a while
│   ├── Overloaded          too many requests wait already
│   ├── MemoryBusy          running answers or other programs hold the memory for the model
│   ├── ModelLoading        the model is not ready yet
│   ├── EngineFailed        the engine stopped in the middle of this answer
│   ├── RouteClosed         every model of a route is outside its hours
│   ├── StoreFailed         a file of the data folder cannot be read or written
│   └── CacheFailed         kept answers cannot be forgotten
├── AccessRefused           whoever asks may not
│   ├── KeyMissing          an API key is needed, and none was sent
│   ├── KeyInvalid          the API key is wrong, revoked or expired
│   └── KeyForbidden        the API key has no right to this
├── TimedOut                the answer, or its first token, did not come in time
├── RateLimited             more was asked for than a minute allows
├── DeadlineExceeded        the answer was not there when the request wanted it
├── Superseded              a newer completion of the same client and file took its place
├── UnknownKey              no API key of that name exists
├── KeyExists               an API key of that name exists already
├── ModelInUse              the model cannot be unloaded while it answers
├── ConfigInvalid           a setting or a line of models.toml is wrong
│   └── UsageInvalid        what was typed on the command line cannot be meant
└── ModelUnusable           the model file is missing, damaged or does not fit
    ├── ModelMalformed      the file breaks the rules of GGUF or contradicts itself
    ├── ModelTooLarge       the model needs more memory than models may take here
    ├── OutOfMemory         memory ran out while the model was loaded
    └── NotDownloaded       models.toml knows the model, and it is not on this disk

Every error has a `code` (stable, for programs), a message (what is wrong, with numbers) and a
`hint` (what to do next; may be empty).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class LocalserveError(Exception):
    """Root of the tree."""

    code: ClassVar[str] = "internal_error"
    description: ClassVar[str] = "Something failed inside the server; its log has the details."

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class InvalidRequest(LocalserveError):
    """The request is well-formed but cannot be satisfied; `param` names the field at fault."""

    code: ClassVar[str] = "invalid_request"
    description: ClassVar[str] = "The request cannot be satisfied as it stands."

    def __init__(self, message: str, *, param: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field. `field` is a path like `messages.0.role`, "" the whole."""

    field: str
    message: str
    type: str


class InvalidSchema(InvalidRequest):
    """The request is JSON but breaks the schema; `problems` name each field at fault."""

    code: ClassVar[str] = "invalid_schema"
    description: ClassVar[str] = (
        "Fields of the request are missing, have the wrong type or are out of bounds. The list "
        "`errors` names each of them."
    )

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        first = problems[0]
        more = f" ({len(problems) - 1} more fields are wrong.)" if len(problems) > 1 else ""
        super().__init__(
            f"{first.field or 'the body'}: {first.message}.{more}", param=first.field or None
        )
        self.problems = problems


class UnsupportedField(InvalidRequest):
    """A known field that would change the answer, asked for and not supported."""

    code: ClassVar[str] = "unsupported_field"
    description: ClassVar[str] = (
        "The request uses a field that would change the answer and that this server does not "
        "support. Nothing is ignored silently; leave the field out."
    )


class NotSupported(InvalidRequest):
    """A known request of a dialect that this server does not do at all."""

    code: ClassVar[str] = "not_supported"
    description: ClassVar[str] = "Other servers of this dialect can do that; this one does not."


class ContextOverflow(InvalidRequest):
    """The prompt has more tokens than the context; the words are those that clients look for."""

    code: ClassVar[str] = "context_length_exceeded"
    description: ClassVar[str] = (
        "The prompt has more tokens than one request may use. Shorten the messages, or start the "
        "server with a larger --ctx."
    )

    def __init__(
        self,
        prompt_tokens: int,
        context_tokens: int,
        *,
        param: str = "messages",
        counted: bool = True,
        hint: str = "",
    ) -> None:
        """Where the tokens were not `counted`, `prompt_tokens` are the fewest there can be."""
        or_more = "" if counted else " or more"
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. However, your request"
            f" has {prompt_tokens} input tokens{or_more}: prompt is too long, it exceeds the"
            " available context size and exceeds the context window. Please reduce the length of"
            f" the {param}.",
            param=param,
            hint=hint,
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class WrongTask(InvalidRequest):
    """The model is there, and cannot do what is asked of it."""

    code: ClassVar[str] = "wrong_task"
    description: ClassVar[str] = (
        "The model was made for another task: some write text, some make embeddings, some rank "
        "documents. GET /v1/models says which can do what."
    )

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, param="model", hint=hint)


class GrammarInvalid(InvalidRequest):
    """The schema, grammar or pattern that the answer is to follow cannot be honoured."""

    code: ClassVar[str] = "grammar_invalid"
    description: ClassVar[str] = (
        "The schema, grammar or pattern that the answer is to follow is malformed, too large, or "
        "asks for something that cannot be enforced while the answer is written. The message names "
        "it; nothing of a schema is ignored silently."
    )


class GrammarFailed(InvalidRequest):
    """The answer was begun and could not go on within its grammar."""

    code: ClassVar[str] = "grammar_failed"
    description: ClassVar[str] = (
        "The answer could not go on within its schema or grammar: no allowed token is possible, or "
        "the grammar became too complex. What was answered so far is not complete."
    )

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The answer could not go on within its grammar: {reason}.",
            hint="Simplify the schema or grammar, or leave out logit_bias and ignore_eos.",
        )


class NoFillMiddle(WrongTask):
    """The model knows no markers for a middle that is to be filled."""

    code: ClassVar[str] = "no_fill_middle"
    description: ClassVar[str] = (
        "The model was not trained to fill in the middle. GET /v1/models lists `insert` among the "
        "capabilities of those that were."
    )

    def __init__(self, name: str, param: str | None) -> None:
        super().__init__(
            f"{name!r} was not trained to fill in the middle.",
            hint="Serve a coder model; GET /v1/models lists `insert` for those that can.",
        )
        self.param = param


class TemplateFailed(InvalidRequest):
    """The model's chat template refused these messages, or did not end in time."""

    code: ClassVar[str] = "template_failed"
    description: ClassVar[str] = (
        "The model's own chat template refused the messages, or did not end within its limits of "
        "time and size. The message says what the template said."
    )


class UnknownModel(LocalserveError):
    """No model of that name is served; `known` are the nearest names that are."""

    code: ClassVar[str] = "model_not_found"
    description: ClassVar[str] = "No model of that name is served. GET /v1/models lists the names."

    def __init__(self, name: str, known: tuple[str, ...], *, hint: str = "") -> None:
        near = f" Did you mean {' or '.join(map(repr, known))}?" if known else ""
        super().__init__(f"The model {name!r} does not exist here.{near}", hint=hint)
        self.known = known


class AmbiguousName(UnknownModel):
    """Several models on this disk could be meant; `known` are names that say which."""

    code: ClassVar[str] = "model_ambiguous"
    description: ClassVar[str] = "Several models could be meant; the message lists them."

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        shown = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        LocalserveError.__init__(
            self, f"{name!r} could be {len(known)} models: {shown}.", hint="Write one of them."
        )
        self.known = known


class Unavailable(LocalserveError):
    """Cannot be answered now; the same request may succeed after `retry_after_seconds`."""

    code: ClassVar[str] = "unavailable"
    description: ClassVar[str] = "The server cannot answer now. Try again after Retry-After."

    def __init__(self, message: str, *, retry_after_seconds: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(Unavailable):
    """The bounded queue of waiting requests is full."""

    code: ClassVar[str] = "overloaded"
    description: ClassVar[str] = (
        "Too many requests wait already. Try again after Retry-After, or start the server with a "
        "longer queue (LOCALSERVE_MAX_WAITING)."
    )


class MemoryBusy(Unavailable):
    """The memory that a model needs is held by models that are answering or by other programs."""

    code: ClassVar[str] = "memory_busy"
    description: ClassVar[str] = (
        "The model needs memory that is held by models which are answering requests, or by other "
        "programs. Try again after Retry-After, or end one of them."
    )


class ModelLoading(Unavailable):
    """The model is still being loaded."""

    code: ClassVar[str] = "model_loading"
    description: ClassVar[str] = "The model is still being loaded. Try again after Retry-After."


class EngineFailed(Unavailable):
    """The engine stopped while it worked on this request; other requests are not at fault."""

    code: ClassVar[str] = "engine_failed"
    description: ClassVar[str] = (
        "The engine stopped while it worked on this request. It is started again by itself; the "
        "server's log has the reason."
    )


class StoreFailed(Unavailable):
    """A file of the data folder cannot be read or written; nothing was changed."""

    code: ClassVar[str] = "store_failed"
    description: ClassVar[str] = (
        "A file of the server's data folder cannot be read or written, so nothing was changed and "
        "nobody let in. The server's log has the reason."
    )


class CacheFailed(Unavailable):
    """Kept answers could not be forgotten."""

    code: ClassVar[str] = "cache_failed"
    description: ClassVar[str] = (
        "The store of kept answers cannot be reached or written, so what lies there was not "
        "forgotten. Answers go on without it."
    )


class RouteClosed(Unavailable):
    """Every model of a route is outside its hours, and it has no fallback."""

    code: ClassVar[str] = "route_closed"
    description: ClassVar[str] = (
        "The request names a route whose models are all outside the hours that models.toml gives "
        "them. Name a model itself, or give the route a fallback."
    )


class TimedOut(LocalserveError):
    """The answer, or the first token of it, did not come within the time that it had."""

    code: ClassVar[str] = "request_timed_out"
    description: ClassVar[str] = (
        "The answer, or its first token, did not come within the time limit of this server or of "
        "the route. Ask for less, or raise LOCALSERVE_REQUEST_SECONDS, "
        "LOCALSERVE_FIRST_TOKEN_SECONDS or the route's first_token_seconds."
    )


class AccessRefused(LocalserveError):
    """Whoever asks may not."""

    code: ClassVar[str] = "access_refused"
    description: ClassVar[str] = "Whoever asks may not do this."


class KeyMissing(AccessRefused):
    """An API key is needed, and none was sent."""

    code: ClassVar[str] = "missing_api_key"
    description: ClassVar[str] = (
        "This server needs an API key. Send it as `Authorization: Bearer KEY`, `x-api-key: KEY` or "
        "`api-key: KEY`."
    )


class KeyInvalid(AccessRefused):
    """The API key is wrong, revoked, expired or was replaced by a rotation."""

    code: ClassVar[str] = "invalid_api_key"
    description: ClassVar[str] = (
        "The API key is wrong, was revoked, has expired or was replaced. Keys are made by "
        "`localserve keys create NAME`."
    )


class KeyForbidden(AccessRefused):
    """The API key is good, but has no right to this."""

    code: ClassVar[str] = "key_forbidden"
    description: ClassVar[str] = (
        "The API key is good, but not for this: it is for other models, or administration needs "
        "one of the scope admin."
    )


class RateLimited(LocalserveError):
    """More requests or tokens were asked for than the caller has now. `kind` is one of the two."""

    code: ClassVar[str] = "rate_limit_exceeded"
    description: ClassVar[str] = (
        "More requests or tokens were asked for than a minute allows. Try again after Retry-After; "
        "the headers x-ratelimit-... say what is left."
    )

    def __init__(
        self, kind: str, per_minute: int, cost: int, remaining: int, retry_after_seconds: int
    ) -> None:
        super().__init__(
            f"The limit is {per_minute:,} {kind} per minute; this takes {cost:,}, and"
            f" {remaining:,} are left.",
            hint=f"Try again in {retry_after_seconds} s.",
        )
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(LocalserveError):
    """The time that the request itself allowed is over; nobody waits for the answer any more."""

    code: ClassVar[str] = "deadline_exceeded"
    description: ClassVar[str] = (
        "The answer was not complete within the `deadline_ms` of the request, so it was given up."
    )


class Superseded(LocalserveError):
    """An editor asked again at the next keystroke; nobody waits for this answer any more."""

    code: ClassVar[str] = "superseded"
    description: ClassVar[str] = (
        "A newer completion of the same client and the same file took the place of this one. Send "
        "different values of `file` (or of `user`) for what is not to be replaced."
    )


class UnknownKey(LocalserveError):
    """No API key of that name exists."""

    code: ClassVar[str] = "key_not_found"
    description: ClassVar[str] = "No API key of that name exists, or it was revoked."


class KeyExists(LocalserveError):
    """An API key of that name exists already."""

    code: ClassVar[str] = "key_exists"
    description: ClassVar[str] = (
        "An API key of that name exists already. Rotate it for a new secret, or revoke it first."
    )


class ModelInUse(LocalserveError):
    """The model answers requests, and nobody said that they may be ended."""

    code: ClassVar[str] = "model_in_use"
    description: ClassVar[str] = (
        "The model is answering requests, so it is not unloaded. Try again when they have ended, or"
        ' send {"force": true} to end them.'
    )


class ConfigInvalid(LocalserveError):
    """A setting or a line of a configuration file is wrong; the message names file and line."""

    code: ClassVar[str] = "config_invalid"
    description: ClassVar[str] = "A setting or a line of a configuration file is wrong."


class UsageInvalid(ConfigInvalid):
    """What was typed on the command line cannot be meant; commands end with status 2."""

    code: ClassVar[str] = "usage_invalid"
    description: ClassVar[str] = "What was typed on the command line cannot be meant."


class ModelUnusable(LocalserveError):
    """The model file is missing, damaged, of an unknown kind, or does not fit into memory."""

    code: ClassVar[str] = "model_unusable"
    description: ClassVar[str] = "The model file is missing, damaged or does not fit into memory."


class ModelMalformed(ModelUnusable):
    """The file breaks the rules of GGUF, or says things of its model that contradict each other.

    The message is one line that names the file, what is wrong in it and the numbers.
    """

    code: ClassVar[str] = "model_malformed"
    description: ClassVar[str] = (
        "The model file breaks the rules of GGUF or contradicts itself, so it was not loaded. The "
        "message says what is wrong in it; a file that was cut off must be downloaded again."
    )

    def __init__(self, message: str, *, hint: str = "") -> None:
        one_line = "".join(c if c.isprintable() else "?" for c in message)  # it quotes the file
        super().__init__(one_line, hint=hint)


class ModelTooLarge(ModelUnusable):
    """The model needs more memory than models may take, even if no other were loaded."""

    code: ClassVar[str] = "model_too_large"
    description: ClassVar[str] = (
        "The model needs more memory than models may take on this machine. The message has the "
        "numbers, and the smallest change with which it would fit."
    )


class OutOfMemory(ModelUnusable):
    """Memory ran out while the model was loaded; nothing of it is left behind."""

    code: ClassVar[str] = "out_of_memory"
    description: ClassVar[str] = (
        "Memory ran out while the model was loaded, also with half the context. Models that were "
        "loaded before go on answering."
    )


class NotDownloaded(ModelUnusable):
    """The model is known and must be downloaded before it can be served."""

    code: ClassVar[str] = "model_not_downloaded"
    description: ClassVar[str] = "The model is known, but not on this disk; it can be downloaded."


def error_types() -> tuple[type[LocalserveError], ...]:
    """All types of the tree, root first, each parent before its children."""
    found: list[type[LocalserveError]] = [LocalserveError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(found)
