"""The one vocabulary between the outside world and the engine.

Every dialect parses its wire format into these values, and every backend answers with the closed
union `ChatEvent`. Frozen values without behaviour: no wire names, no tokens of a certain model, no
HTTP. Any thread may hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


class Priority(IntEnum):
    """How soon somebody needs an answer: an editor at each keystroke, a person who reads along, or
    nobody just now. What comes later may go first, but nothing waits for ever."""

    BACKGROUND = 0
    CHAT = 1
    INTERACTIVE = 2

    @property
    def word(self) -> str:
        """As people and programs write it."""
        return self.name.lower()


PriorityName = Literal["interactive", "chat", "background"]
"""Their words."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that an assistant made. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema.

    The arguments of a `strict` one follow their schema to the letter.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Whether and what the model calls: `required` is one call at least, of the tools that `only`
    names (none: of all), and without `parallel` one at most."""

    required: bool = False
    only: tuple[str, ...] = ()
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `content` is None only where an assistant made nothing but tool calls."""

    role: Role
    content: str | None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; None means 'as the model's defaults say'.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0 and `typical_p` 1 switch the
    respective filter off. Penalties look at the last `repeat_last_n` tokens (prompt included).
    `seed` None draws one. `sure_only` keeps of the filtered tokens those that are likely, and ends
    the answer where none is: what fills a middle is to be right or short.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] | None = None
    seed: int | None = None
    sure_only: bool | None = None

    def over(self, defaults: Sampling) -> Sampling:
        """These values where set, else those of `defaults`."""
        given = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        return replace(defaults, **given)


DEFAULT_SAMPLING = Sampling(
    temperature=0.8,
    top_p=0.95,
    top_k=40,
    min_p=0.05,
    typical_p=1.0,
    repeat_penalty=1.0,
    repeat_last_n=64,
    frequency_penalty=0.0,
    presence_penalty=0.0,
    logit_bias=(),
    sure_only=False,
)
"""What applies where neither the request nor models.toml says otherwise (the usual local defaults,
as llama-server has them)."""


@dataclass(frozen=True, slots=True)
class JsonShape:
    """JSON that a schema, given as JSON text, allows. `field` is where the request has it."""

    schema: str
    field: str = "response_format"


@dataclass(frozen=True, slots=True)
class RegexShape:
    """Text that a regular expression matches as a whole, in the syntax of Rust's crate regex."""

    pattern: str
    field: str = "structured_outputs"


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of several texts."""

    choices: tuple[str, ...]
    field: str = "structured_outputs"


@dataclass(frozen=True, slots=True)
class GrammarShape:
    """Text that a grammar derives, in llguidance's variant of Lark or in GBNF."""

    grammar: str
    field: str = "grammar"


Shape = JsonShape | RegexShape | ChoiceShape | GrammarShape
"""What the text of an answer has to look like."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of an answer besides its text: the ids of its tokens, how far its prompt is
    computed, how far and how fast the answer is, and the prompts as the model saw them."""

    tokens: bool = False
    progress: bool = False
    timings: bool = False
    prompts: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """What an answer may look like.

    `max_tokens` None means 'the rest of the context'. `top_logprobs` None means no log
    probabilities at all, 0 those of the chosen tokens only. `shape` None is free text; reasoning
    before the answer and tool calls in place of it have no shape. `text_bias` is a `logit_bias` for
    all tokens of a text.

    The first line that ends more than `line_seconds` after the first token is the last one. A later
    line that is indented by less than `min_indent` characters is not given out and ends the answer.
    With `reuse` false the whole prompt is computed anew.
    """

    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    top_logprobs: int | None = None
    ignore_eos: bool = False
    shape: Shape | None = None
    text_bias: tuple[tuple[str, float], ...] = ()
    line_seconds: float | None = None
    min_indent: int = 0
    reuse: bool = True
    report: Report = Report()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to be continued.

    `scope` is part of every prefix key: prefixes are shared within one scope only. Without a
    `priority` it is CHAT; after `deadline_seconds` from its arrival nobody needs it any more.
    `template_options` go to the chat template as they are.

    A last message of the assistant is continued, unless `continue_last` is false. With
    `reasoning_apart` false, reasoning is given out as content. At most `reasoning_tokens` are spent
    on reasoning (None: as many as the model likes). `keep_alive_seconds` is how long the model is
    to stay loaded after the answer (None: as the server says; infinite: as long as it can).
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    calls: CallPolicy = CallPolicy()
    template_options: Mapping[str, object] = field(default_factory=dict)
    generation: Generation = Generation()
    continue_last: bool = True
    reasoning_apart: bool = True
    reasoning_tokens: int | None = None
    scope: str = ""
    priority: Priority | None = None
    deadline_seconds: float | None = None
    keep_alive_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens the prompt of a conversation has."""

    model: str
    prompt_tokens: int


Prompt = str | tuple[int | str, ...]
"""Text, the ids of its tokens, or ids and texts one behind the other."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """Raw texts to be continued. With `suffix` the model fills the middle between the two.

    Choices are numbered prompt by prompt: prompt p's choice c is `p * generation.choices + c`.
    Without a `priority` it is INTERACTIVE; after `deadline_seconds` from its arrival nobody needs
    it any more. `file` is what an editor completes, and `user` for whom, in whatever words the
    client has for them.
    """

    model: str
    prompts: tuple[Prompt, ...]
    suffix: str | None = None
    echo: bool = False
    generation: Generation = Generation()
    scope: str = ""
    priority: Priority | None = None
    deadline_seconds: float | None = None
    file: str | None = None
    user: str | None = None
    keep_alive_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ExtraText:
    """A text of another file that helps to fill a middle."""

    filename: str
    text: str


@dataclass(frozen=True, slots=True)
class InfillRequest:
    """The middle between `prefix` and `suffix` is to be written; it begins with `begun`.

    What is far from the middle is left out where the context is too small for all, and of the extra
    texts those that stand first. The rest is as for a CompletionRequest.
    """

    model: str
    prefix: str
    suffix: str
    begun: str = ""
    extra: tuple[ExtraText, ...] = ()
    generation: Generation = Generation()
    scope: str = ""
    priority: Priority | None = None
    deadline_seconds: float | None = None
    file: str | None = None
    user: str | None = None
    keep_alive_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to be made into vectors, of which only the first `dimensions` numbers are wanted
    (None: all)."""

    model: str
    inputs: tuple[Prompt, ...]
    dimensions: int | None = None
    keep_alive_seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingAnswer:
    """A vector of length 1 for each input; shape (inputs, dimensions)."""

    model: str
    vectors: npt.NDArray[np.float32]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Documents to be scored by how well they answer a query."""

    model: str
    query: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RerankAnswer:
    """A score from 0 to 1 for each document, in their order."""

    model: str
    scores: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its natural-log probability, before any sampling filter.

    `raw` are the token's bytes (may be a part of a character), `text` the same, decoded with
    replacement characters.
    """

    token: int
    text: str
    raw: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a whole request; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in milliseconds: waiting for room, the prompt, the answer.

    `answer_ms` is the time from the first token to the last; `timed_tokens` came in it, which are
    all but the first of each choice. `guessed_tokens` were guessed ahead, of which `right_tokens`
    came out right.
    """

    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    answer_ms: float = 0.0
    timed_tokens: int = 0
    guessed_tokens: int = 0
    right_tokens: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        """How fast the answer came; None where there was no time to measure."""
        return self.timed_tokens / self.answer_ms * 1e3 if self.answer_ms > 0 else None


@dataclass(frozen=True, slots=True)
class Accepted:
    """First event: the model is loaded, the prompt is counted and admitted, nothing computed.

    `generation` is what was asked for over the model's defaults, `context_tokens` what the request
    may use. `left_out_tokens` of what was sent had no room. `prompts` are there when asked for. All
    four are details, and do not count where events are compared.
    """

    model: str
    prompt_tokens: int
    context_tokens: int = field(default=0, compare=False)
    generation: Generation = field(default_factory=Generation, compare=False)
    left_out_tokens: int = field(default=0, compare=False)
    prompts: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """How far the prompt of one choice is: `computed_tokens` of it are there, `cached_tokens` of
    them were there before. Only when asked for; the last one says that all are there."""

    choice: int
    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class AnswerProgress:
    """How many tokens one choice has, with the deltas that follow, and how long ago the first of
    them came. Only when asked for."""

    choice: int
    answer_tokens: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of one choice. `logprobs` has an entry per token, when they were asked for;
    `tokens` are the ids of the tokens whose text ends here and of the one that ends the answer,
    when these were."""

    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallBegun:
    """A tool call of one choice, in which calls are numbered from 0. Its arguments follow."""

    choice: int
    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the JSON text of a call's arguments."""

    choice: int
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event of one choice. `stop_text` is the stop string that ended it, if one did.

    An answer that ended by itself and has tool calls ends with reason `tool_calls`. `usage` and
    `timings` are those of this choice alone; they do not count where events are compared. `route`
    as in Completed.
    """

    choice: int
    reason: FinishReason
    stop_text: str | None = None
    usage: Usage = field(default=Usage(0, 0), compare=False)
    timings: Timings = field(default=Timings(), compare=False)
    route: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Completed:
    """Last event of the request. `route` says which models were asked, where the first of them
    did not answer; what was said before of the route may be out of date then."""

    usage: Usage
    timings: Timings
    route: str = field(default="", compare=False)


Delta = TextDelta | ReasoningDelta | ToolCallBegun | ArgumentsDelta
"""More of one choice."""

ChatEvent = Accepted | PromptProgress | AnswerProgress | Delta | Finished | Completed
"""In order: Accepted; per choice PromptProgress* (AnswerProgress | Delta)* Finished, interleaved;
Completed. A failure is raised by the iterator instead, as a LocalserveError."""
