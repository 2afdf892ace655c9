"""How long models took to say something, and which of them failed lately. Event loop only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

SMOOTHING: Final = 0.2
"""The share of the newest measurement in the mean."""

FORGET_SECONDS: Final = 600.0
"""A measurement that is older counts no more: the model is tried again."""

REST_SECONDS: Final = 30.0
"""So long a model that failed is asked last."""

_MOST_MODELS: Final = 1000

Value = TypeVar("Value")


class Measured:
    """Times to the first token by model, from the request's arrival; waiting is part of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first_tokens: dict[str, tuple[float, float]] = {}
        self._failed: dict[str, float] = {}

    def answered(self, model: str, seconds: float) -> None:
        """The first token came after so long."""
        key = model.casefold()
        mean = self.first_token_seconds(model)
        now = seconds if mean is None else mean + SMOOTHING * (seconds - mean)
        _put(self._first_tokens, key, (now, self._clock()))
        self._failed.pop(key, None)

    def failed(self, model: str) -> None:
        """It could not answer, through no fault of the request."""
        _put(self._failed, model.casefold(), self._clock())

    def first_token_seconds(self, model: str) -> float | None:
        """The mean; None where nothing was measured lately."""
        mean, at = self._first_tokens.get(model.casefold(), (0.0, float("-inf")))
        return mean if self._clock() - at <= FORGET_SECONDS else None

    def rests(self, model: str) -> bool:
        """Whether it failed a moment ago."""
        return self._clock() - self._failed.get(model.casefold(), float("-inf")) < REST_SECONDS


def _put(table: dict[str, Value], key: str, value: Value) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > _MOST_MODELS:
        table.pop(next(iter(table)))
