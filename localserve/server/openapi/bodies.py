"""The answers of the API as models, for its description; more members may come in time. Pure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel


class Answer(BaseModel):
    """Members that are not named here may be present."""

    model_config = ConfigDict(extra="allow")


class FieldFault(Answer):
    field: str
    message: str
    type: str


class ErrorDetail(Answer):
    message: str
    type: str
    param: str | None
    code: str


class Problem(Answer):
    """OpenAI's `error` object together with the members of RFC 9457."""

    error: ErrorDetail
    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldFault] = []


class AnthropicErrorDetail(Answer):
    type: str
    message: str


class AnthropicProblem(Answer):
    """Anthropic's form of an error."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str


class NativeErrorDetail(Answer):
    code: int
    message: str
    type: str


class NativeProblem(Answer):
    """llama-server's form of an error."""

    error: NativeErrorDetail


class OllamaProblem(Answer):
    """Ollama's form of an error."""

    error: str


class Usage(Answer):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class AnsweredFunction(Answer):
    name: str
    arguments: str


class AnsweredCall(Answer):
    id: str
    type: Literal["function"]
    function: AnsweredFunction


class AnsweredMessage(Answer):
    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | None = None
    tool_calls: list[AnsweredCall] = []


class ChatChoice(Answer):
    index: int
    message: AnsweredMessage
    finish_reason: str | None


class ChatCompletion(Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextChoice(Answer):
    index: int
    text: str
    finish_reason: str | None


class TextCompletion(Answer):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Vector(Answer):
    """Base64 is of little-endian 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Answer):
    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: Usage


class Ranked(Answer):
    index: int
    relevance_score: float


class RankedDocuments(Answer):
    """The documents, best first."""

    model: str
    results: list[Ranked]
    usage: Usage


class PlainRank(Answer):
    index: int
    score: float


class Ranking(RootModel[RankedDocuments | list[PlainRank]]):
    """A list alone where the question has `texts` in place of `documents`."""


class ModelEntry(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Answer):
    data: list[ModelEntry] = []


class ResponseObject(Answer):
    id: str
    object: Literal["response"]
    status: str
    model: str
    output: list[dict[str, Any]]


class DeletedResponse(Answer):
    id: str
    deleted: bool


class AnthropicMessage(Answer):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    usage: dict[str, Any]


class TokenTotal(Answer):
    input_tokens: int


class NativeCompletion(Answer):
    content: str
    stop: bool = True


class NativeAnswers(RootModel[NativeCompletion | list[NativeCompletion] | dict[str, Any]]):
    """One answer, a list of them for several, or the fields that were asked for."""


class NativeVector(Answer):
    index: int
    embedding: list[Any]


class NativeVectors(RootModel[list[NativeVector]]):
    """A list with an element for each input."""


class TokenIds(Answer):
    """Token ids, or with `with_pieces` objects with the id and its piece."""

    tokens: list[int | dict[str, Any]]


class DetokenizedText(Answer):
    content: str


class Prompt(Answer):
    prompt: str


class Properties(Answer):
    default_generation_settings: dict[str, Any]
    total_slots: int


class Slots(RootModel[list[dict[str, Any]]]):
    """One object for each request that can be computed at once."""


class OllamaAnswer(Answer):
    model: str
    created_at: str
    done: bool


class OllamaVectors(Answer):
    embeddings: list[list[float]]


class OllamaVector(Answer):
    embedding: list[float]


class OllamaModels(Answer):
    models: list[dict[str, Any]]


class OllamaModel(Answer):
    details: dict[str, Any]
    capabilities: list[str]


class Version(Answer):
    version: str


class Status(Answer):
    status: str


class HealthDetails(Answer):
    status: str
    checks: list[dict[str, Any]]


class ErrorDescription(Answer):
    type: str
    title: str
    status: int
    detail: str


class HeldModel(Answer):
    """A model as the server holds it; bytes, seconds, RFC 3339 times."""

    id: str
    state: Literal["loading", "loaded", "failed", "unloaded"]
    problem: str | None
    pinned: bool
    context_tokens: int | None
    parallel: int | None
    capabilities: list[str]
    running: int
    waiting: int
    memory_bytes: dict[str, int]


class HeldModels(Answer):
    default: str
    pid: int
    started_at: str
    models: list[HeldModel]
    memory: list[dict[str, Any]]


class RunningRequest(Answer):
    """A request that is answered now."""

    request_id: str
    path: str
    key: str | None
    model: str
    stream: bool | None
    prompt_tokens: int | None
    pieces: int
    first_token_ms: float | None
    elapsed_ms: float
    can_cancel: bool


class ActivityReport(HeldModels):
    """`recent` are those that ended, newest first, with what their lines in the log have; `ended`
    is the number to ask with the next time."""

    running: list[RunningRequest]
    recent: list[dict[str, Any]]
    ended: int


class Cancelled(Answer):
    request_id: str
    cancelled: int


class RouteChoice(Answer):
    model: str
    why: str
    against: list[str]


class ClosedChoice(Answer):
    model: str
    hours: str


class RouteExplained(Answer):
    """The models in the order in which they would be asked."""

    route: str
    by: str
    at: str
    tokens: int
    complexity: float
    complexity_parts: dict[str, float]
    order: list[RouteChoice]
    closed: list[ClosedChoice]
    max_waiting: int | None
    first_token_seconds: float | None


class CacheMemory(Answer):
    entries: int
    bytes: int
    evictions: int


class CacheStore(Answer):
    kind: str
    works: bool
    entries: int | None
    bytes: int | None
    evictions: int | None


class CacheReport(Answer):
    """Where the cache is off, only `enabled`."""

    enabled: bool
    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    saved_tokens: int = 0
    memory: CacheMemory | None = None
    store: CacheStore | None = None


class Purged(Answer):
    purged: int
    model: str | None


class SettingEntry(Answer):
    """Of a secret, `value` is null and `secret_is_set` says whether there is one."""

    name: str
    value: str | int | float | bool | None
    source: str
    variable: str
    help: str


class SettingsReport(Answer):
    settings: list[SettingEntry]


class CatalogEntry(Answer):
    """Quantizations by name, with the bytes of each."""

    name: str
    aliases: list[str]
    kind: str
    repo: str
    parameters: int | None
    active_parameters: int | None
    trained_context_tokens: int | None
    quantizations: dict[str, int | None]


class Catalog(Answer):
    models: list[CatalogEntry]


class Judged(Answer):
    """`level` is fits, not now or too large; null where `problem` says why nothing is planned."""

    model: str
    on_disk: bool
    level: Literal["fits", "not now", "too large"] | None
    problem: str | None
    plan: dict[str, Any] | None


class Judgements(Answer):
    machine: dict[str, Any]
    models: list[Judged]


class Fitted(Answer):
    """What `localserve fit NAME --json` prints; here by formula."""

    model: str
    level: Literal["fits", "not now", "too large"]
    picked: str | None
    fits: bool
    explanation: dict[str, Any]
    quantizations: list[dict[str, Any]]


class Discarded(Answer):
    model: str
    freed_bytes: int


class ClientFile(Answer):
    path: str
    snippet: str


class ClientSetup(Answer):
    name: str
    title: str
    installed: bool
    routes: list[str]
    least_context_tokens: int
    files: list[ClientFile]
    variables: dict[str, str]
    steps: list[str]
    problem: str | None


class Connections(Answer):
    url: str
    needs_key: bool
    clients: list[ClientSetup]


class ApiKey(Answer):
    name: str
    id: str
    state: str
    scope: str
    models: list[str]
    expires_at: str | None


class ApiKeys(Answer):
    keys: list[ApiKey]


class IssuedApiKey(ApiKey):
    """`key` is the secret; no other answer has it."""

    key: str


class LmStudioModel(Answer):
    id: str
    object: Literal["model"]
    state: str


class LmStudioModels(Answer):
    data: list[LmStudioModel]
