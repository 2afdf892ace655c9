"""The fields that chat and text completions share: how tokens are chosen and when to stop.

Wire names in, `Generation` out. Bounds are generous where a model can still answer, and finite
everywhere. Any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Generation, Report, Sampling
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
from localserve.dialects.openai.shapes import ShapeFields
from localserve.dialects.samplers import MAX_SAMPLERS, read_samplers, select
from localserve.dialects.schema import WireBody, WireModel
from localserve.dialects.urgency import UrgencyFields
from localserve.errors import InvalidRequest

Temperature = Annotated[float, Field(ge=0, le=5)]


@dataclass(frozen=True, slots=True)
class Extras:
    """What frames tell besides what OpenAI has: how far the prompt is, and times so far."""

    progress: bool = False
    timings: bool = False


NO_EXTRAS = Extras()


class StreamOptions(WireModel):
    include_usage: bool | None = None


class GenerationBody(ShapeFields, UrgencyFields, WireBody):
    """`max_tokens`, `max_completion_tokens` and `n_predict` are one limit: the smallest counts.

    -1 is no limit. 0 computes the prompt, so that it is kept for the next request, and answers
    with no text; chat does as text completions do here. Source: llama-server's `n_predict`.
    """

    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n_predict: Limit | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    ignore_eos: bool | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=-1, le=LARGEST_TOKEN)] | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    repeat_penalty: RepeatPenalty | None = None
    repetition_penalty: RepeatPenalty | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=MAX_PENALTY_WINDOW_TOKENS)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Any = None
    seed: Seed | None = None
    samplers: Name | Annotated[list[Name], Field(max_length=MAX_SAMPLERS)] | None = None
    cache_prompt: bool | None = None
    t_max_predict_ms: Limit | None = None
    return_progress: bool | None = None
    timings_per_token: bool | None = None

    @property
    def extras(self) -> Extras:
        """llama-server's own fields in the frames of a stream."""
        return Extras(bool(self.return_progress), bool(self.timings_per_token))

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def generation(self, *, top_logprobs: int | None) -> Generation:
        """The shared fields in the inner vocabulary.

        Raises: InvalidRequest (two fields contradict each other), UnsupportedField.
        """
        biases = read_biases(self.logit_bias)
        late = self.t_max_predict_ms
        return Generation(
            sampling=self._sampling(None if self.logit_bias is None else biases.tokens),
            max_tokens=self._max_tokens(),
            stop=self._stops(),
            choices=self.n or 1,
            top_logprobs=top_logprobs,
            ignore_eos=bool(self.ignore_eos),
            shape=self.shape(),
            text_bias=biases.texts,
            line_seconds=late / 1e3 if late is not None and late > 0 else None,
            reuse=self.cache_prompt is not False,
            report=Report(
                progress=bool(self.stream and self.return_progress),
                timings=bool(self.stream and self.timings_per_token),
            ),
        )

    def _max_tokens(self) -> int | None:
        given = (self.max_tokens, self.max_completion_tokens, self.n_predict)
        return min((limit for limit in given if limit is not None and limit >= 0), default=None)

    def _stops(self) -> tuple[str, ...]:
        """An empty stop string stands for none."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(dict.fromkeys(text for text in given if text))

    def _sampling(self, bias: tuple[tuple[int, float], ...] | None) -> Sampling:
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
            min_p=self.min_p,
            typical_p=self.typical_p,
            repeat_penalty=self._repeat_penalty(),
            repeat_last_n=(
                MAX_PENALTY_WINDOW_TOKENS if self.repeat_last_n == -1 else self.repeat_last_n
            ),
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=bias,
            seed=None if self.seed in (None, -1) else _unsigned(self.seed),
        )
        return sampling if self.samplers is None else select(sampling, read_samplers(self.samplers))

    def _repeat_penalty(self) -> float | None:
        one, other = self.repeat_penalty, self.repetition_penalty
        if one is not None and other is not None and one != other:
            raise InvalidRequest(
                f"repeat_penalty is {one} and repetition_penalty, its other name, is {other}.",
                param="repetition_penalty",
                hint="Send one of them.",
            )
        return other if one is None else one


def _unsigned(seed: int | None) -> int:
    """A seed as an unsigned number of 32 bits, as samplers take it; equal seeds stay equal."""
    return (seed or 0) & 0xFFFF_FFFF
