"""The one seam between 'a request was understood' and 'who answers it'.

A backend speaks the chat vocabulary and nothing else. Its methods are called on the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from localserve.catalog.spec import ModelSpec
from localserve.chat import (
    DEFAULT_SAMPLING,
    ChatEvent,
    ChatRequest,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    InfillRequest,
    Prompt,
    RerankAnswer,
    RerankRequest,
    Sampling,
    TokenCount,
)
from localserve.engine.sequence import SequenceView
from localserve.planner.usage import MemoryUsage

Capability = Literal["completion", "tools", "thinking", "insert", "embedding", "rerank"]
"""What a model can do, in the words of other local servers; those that complete chat, too."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a client may know of a loaded model.

    `context_tokens` is what one request may use now, `trained_context_tokens` what the model was
    trained for. `sampling` is what applies where a request does not say otherwise. `begin_text` and
    `end_text` are how the tokens are written that texts begin and end with.
    """

    name: str
    aliases: tuple[str, ...]
    architecture: str
    context_tokens: int
    trained_context_tokens: int
    parallel: int
    vocabulary_size: int
    embedding_length: int
    parameters: int
    weights_bytes: int
    created: int
    fills_middle: bool
    device: str
    file: str
    capabilities: tuple[Capability, ...] = ("completion",)
    chat_template: str = ""
    begin_text: str = ""
    end_text: str = ""
    sampling: Sampling = DEFAULT_SAMPLING


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot of a running engine. `step_age_seconds` is 0 while it waits for work.

    `tokens_per_second` are those of all answers together in the last step, 0 while none runs.
    `step_budget_ms` is the most that a step takes while answers run (None: it is not bounded). Of
    `cells_used`, no sequence runs on `cells_kept`. `steps` were computed since it was loaded.
    `disk_bytes` is what kept prefixes of the model take on disk. Since it was loaded,
    `guessed_tokens` were guessed ahead, of which `right_tokens` came out right.
    """

    alive: bool
    running: int
    waiting: int
    cells_used: int
    cells: int
    step_age_seconds: float
    tokens_per_second: float = 0.0
    step_budget_ms: float | None = None
    cells_kept: int = 0
    steps: int = 0
    disk_bytes: int = 0
    guessed_tokens: int = 0
    right_tokens: int = 0


class Backend(Protocol):
    """Answers requests for one model."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def memory(self) -> MemoryUsage | None:
        """What it holds, by its own count right after loading; None where that is not told."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Answer a conversation. Closing the generator cancels the work.

        Raises: InvalidRequest (before Accepted; WrongTask, where the model writes no text),
        Overloaded (before Accepted), EngineFailed.
        """
        ...

    def complete(self, request: CompletionRequest) -> AsyncGenerator[ChatEvent, None]:
        """Continue raw texts. Closing the generator cancels the work. Raises as `chat`."""
        ...

    def infill(self, request: InfillRequest) -> AsyncGenerator[ChatEvent, None]:
        """Write the middle between two texts. Closing the generator cancels the work.

        Raises as `chat`; NoFillMiddle, where the model was not trained for that.
        """
        ...

    async def tokenize(self, text: Prompt, *, add_special: bool, parse_special: bool) -> list[int]:
        """The ids of a text's tokens. `add_special` adds what all prompts begin with, with
        `parse_special` texts that spell special tokens become these. Raises: InvalidRequest."""
        ...

    async def spell(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each token, special ones as they are written. Raises: InvalidRequest."""
        ...

    async def render(self, request: ChatRequest, *, generation_prompt: bool = True) -> str:
        """The prompt that a conversation becomes; without `generation_prompt` it ends behind the
        last message. Raises as `chat`."""
        ...

    async def count_tokens(self, request: ChatRequest) -> TokenCount:
        """How many tokens the prompt of `chat` has, also where that is more than the context.

        Raises: InvalidRequest (WrongTask, where the model writes no text; ContextOverflow, where
        the prompt is too long to be counted), Overloaded.
        """
        ...

    async def look(self) -> tuple[SequenceView, ...]:
        """The answers that are being computed. Raises: Unavailable, EngineFailed."""
        ...

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Make texts into vectors. Cancelling the call cancels the work.

        Raises: InvalidRequest (WrongTask, where the model makes none), Overloaded, EngineFailed.
        """
        ...

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        """Score documents. Cancelling the call cancels the work. Raises as `embed`."""
        ...

    async def responsive(self, timeout_seconds: float) -> bool:
        """Whether the engine still steps: answers a ping, or a step is going on that is young."""
        ...

    def status(self) -> EngineStatus: ...

    def reconfigure(self, spec: ModelSpec) -> None:
        """Take over names, sampling defaults, caps and template; nothing that needs a reload."""
        ...

    async def close(self) -> None:
        """Cancel what runs and free the model."""
        ...
