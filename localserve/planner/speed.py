"""Tokens per second that a plan will give: what is shown of its forecast. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from localserve.gguf.facts import GgufFacts
from localserve.planner.forecast import Forecast, TokenTime
from localserve.planner.machine import Machine
from localserve.planner.runtime import Runtime

DECODE_AT_TOKENS = 1024
"""How full the context is taken to be for the decode rate that is shown."""

PROMPT_TOKENS = 1024
"""The length of the prompt whose time to first token is shown."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one answer at a time, in tokens per second.

    `token` is where the time of one token goes that has DECODE_AT_TOKENS before it. `prompt` and
    `first_token_seconds`, for a prompt of PROMPT_TOKENS, are None where a device's rate of
    computing was not measured. Where vectors are made `token` is one of a prompt, and there is no
    first one of an answer.
    """

    token: TokenTime
    prompt: float | None
    first_token_seconds: float | None

    @property
    def decode(self) -> float:
        return 1 / self.token.total


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measured over predicted time, as learned on this machine; 1 is 'as predicted'.

    From `answers` of that model, or where there are none from those of `alike` ones.
    """

    decode: float = 1.0
    prompt: float = 1.0
    answers: int = 0
    alike: int = 0


AS_PREDICTED = Corrections()


def predict(
    facts: GgufFacts,
    runtime: Runtime,
    machine: Machine,
    corrections: Corrections = AS_PREDICTED,
) -> Speed | None:
    """The speed of the model so run; None where the rate of a device is not known."""
    forecast = Forecast(facts, runtime, machine)
    token = forecast.token_time(min(DECODE_AT_TOKENS, runtime.context_tokens))
    if token is None:
        return None
    token = token * corrections.decode
    first = forecast.prompt_seconds(PROMPT_TOKENS)
    if first is None:
        return Speed(token, None, None)
    first *= corrections.prompt
    if runtime.pooling is not None:
        token = token * (first / PROMPT_TOKENS / token.total)
        return Speed(token, PROMPT_TOKENS / first, None)
    return Speed(token, PROMPT_TOKENS / first, first)
