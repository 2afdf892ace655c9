"""The fields that `/completion` and `/infill` share: how tokens are chosen, when to stop, what is
told of the answer.

`t_max_prompt_ms` has no effect, as at llama-server: a prompt that is computed is of use for the
next keystroke, one that is given up is not. Nor have `id_slot`, `n_keep`, `n_discard`,
`n_cache_reuse`, `sse_ping_interval` and `speculative.*`: they change no answer here. Any thread.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Generation, GrammarShape, JsonShape, Report, Sampling, Shape
from localserve.dialects.biases import read_biases
from localserve.dialects.bounds import (
    LARGEST_TOKEN,
    MAX_CHOICES,
    MAX_PENALTY_WINDOW_TOKENS,
    MAX_STOPS,
    Limit,
    Name,
    Penalty,
    RepeatPenalty,
    Seed,
    Share,
    StopText,
)
from localserve.dialects.llama_server.refusals import refuse_unsupported
from localserve.dialects.samplers import MAX_SAMPLERS, read_samplers, select
from localserve.dialects.schema import WireBody
from localserve.dialects.schemas import Schema, schema_text
from localserve.dialects.urgency import EditorFields
from localserve.errors import InvalidRequest

MAX_PROBABILITIES = 256
"""Tokens that are told for each place of the answer."""

MAX_INDENT_CHARACTERS = 1_000
"""As many characters may be held back from a stream."""

MAX_FIELDS = 128
"""In `response_fields`."""


class AnswerBody(EditorFields, WireBody):
    """The smallest of `n_predict`, `max_tokens` and `max_completion_tokens` counts; -1 is no limit,
    0 computes the prompt, so that it is kept for the next request."""

    model: Name | None = None
    stream: bool | None = None
    n_predict: Limit | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n_cmpl: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    ignore_eos: bool | None = None
    cache_prompt: bool | None = None
    n_indent: Annotated[int, Field(ge=0, le=LARGEST_TOKEN)] | None = None
    t_max_predict_ms: Limit | None = None
    t_max_prompt_ms: Limit | None = None
    samplers: Name | Annotated[list[Name], Field(max_length=MAX_SAMPLERS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=-1, le=LARGEST_TOKEN)] | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    repeat_penalty: RepeatPenalty | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=MAX_PENALTY_WINDOW_TOKENS)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Any = None
    seed: Seed | None = None
    n_probs: Annotated[int, Field(ge=0, le=MAX_PROBABILITIES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_PROBABILITIES)] | None = None
    return_tokens: bool | None = None
    return_progress: bool | None = None
    timings_per_token: bool | None = None
    grammar: str | None = None
    json_schema: Schema | None = None
    response_fields: Annotated[list[Name], Field(max_length=MAX_FIELDS)] | None = None

    @property
    def probabilities(self) -> int:
        """How many tokens are told for each place; 0 is none."""
        return (self.logprobs if self.n_probs is None else self.n_probs) or 0

    def check(self) -> None:
        """Raises: UnsupportedField, for what would change the answer."""
        refuse_unsupported(self.model_extra or {})

    def generation(self) -> Generation:
        """The shared fields in the inner vocabulary. Raises: InvalidRequest, UnsupportedField."""
        biases = read_biases(self.logit_bias)
        late = self.t_max_predict_ms
        return Generation(
            sampling=self._sampling(None if self.logit_bias is None else biases.tokens),
            max_tokens=self._max_tokens(),
            stop=self._stops(),
            choices=self.n_cmpl or self.n or 1,
            top_logprobs=self.probabilities or None,
            ignore_eos=bool(self.ignore_eos),
            shape=self._shape(),
            text_bias=biases.texts,
            line_seconds=late / 1e3 if late is not None and late > 0 else None,
            min_indent=min(self.n_indent or 0, MAX_INDENT_CHARACTERS),
            reuse=self.cache_prompt is not False,
            report=Report(
                tokens=bool(self.stream or self.return_tokens),
                progress=bool(self.stream and self.return_progress),
                timings=bool(self.stream and self.timings_per_token),
                prompts=True,
            ),
        )

    def _shape(self) -> Shape | None:
        if self.grammar and self.json_schema is not None:
            raise InvalidRequest(
                "grammar and json_schema both say what the answer has to look like.",
                param="json_schema",
                hint="Send one of them.",
            )
        if self.grammar:
            return GrammarShape(self.grammar)
        if self.json_schema is not None:
            return JsonShape(schema_text(self.json_schema), "json_schema")
        return None

    def _max_tokens(self) -> int | None:
        given = (self.n_predict, self.max_tokens, self.max_completion_tokens)
        return min((limit for limit in given if limit is not None and limit >= 0), default=None)

    def _stops(self) -> tuple[str, ...]:
        """An empty stop string stands for none."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(dict.fromkeys(text for text in given if text))

    def _sampling(self, bias: tuple[tuple[int, float], ...] | None) -> Sampling:
        every = MAX_PENALTY_WINDOW_TOKENS
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
            min_p=self.min_p,
            typical_p=self.typical_p,
            repeat_penalty=self.repeat_penalty,
            repeat_last_n=every if self.repeat_last_n == -1 else self.repeat_last_n,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=bias,
            seed=None if self.seed in (None, -1) else (self.seed or 0) & 0xFFFF_FFFF,
        )
        return sampling if self.samplers is None else select(sampling, read_samplers(self.samplers))
