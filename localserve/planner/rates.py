"""What the measured rates of one place say of a type of weights, and of attention. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from localserve.planner.bandwidth import QUERIES_PER_KEY, StepRates
from localserve.planner.machine import Place

NEAREST = {
    "F32": "F16",
    "BF16": "F16",
    "Q5_0": "Q8_0",
    "Q5_1": "Q8_0",
    "Q4_1": "Q4_0",
    "IQ4_NL": "Q4_0",
    "MXFP4": "Q4_0",
    "Q6_K": "Q4_K",
    "Q5_K": "Q4_K",
    "Q2_K": "Q3_K",
    "IQ3_S": "IQ4_XS",
    "IQ3_XXS": "IQ4_XS",
    "IQ2_S": "IQ4_XS",
    "IQ2_XS": "IQ4_XS",
    "IQ2_XXS": "IQ4_XS",
}
"""The measured type that behaves most alike; all others count as Q4_K."""


def decode_rate(place: Place, kind: str) -> float:
    """Bytes per second of a type: measured, or of the type that behaves most alike."""
    rates = {name: one.decode_bytes_per_second for name, one in place.rates.items()}
    return _nearest(rates, kind)


def prompt_rate(place: Place, kind: str) -> float:
    """Operations per second of a type, like `decode_rate`; not a number where none is known."""
    rates = {
        name: rate
        for name, one in place.rates.items()
        if (rate := one.prompt_flops_per_second) is not None
    }
    return _nearest(rates, kind)


def _nearest(rates: Mapping[str, float], kind: str) -> float:
    for name in (kind, NEAREST.get(kind, "Q4_K"), "Q4_K", "Q8_0", "F16"):
        if name in rates:
            return rates[name]
    return next(iter(rates.values()), math.nan)


def attention_seconds(
    place: Place, tokens: int, operations: float, cache_bytes: float, queries_per_key: float
) -> float:
    """Time for attention on one device: arithmetic, or reading the cache if that takes longer."""
    if not operations or not place.rates:
        return 0.0
    reading = cache_bytes / decode_rate(place, "F16")
    steps: StepRates = place.steps
    if tokens == 1:
        return max(reading, operations * _decode_attention_seconds(steps, queries_per_key))
    rate = steps.prompt_attention_flops_per_second or prompt_rate(place, "F16")
    return operations / rate


def _decode_attention_seconds(steps: StepRates, queries_per_key: float) -> float:
    """Time per operation: between the two that were measured on a logarithmic scale, for keys that
    more heads share are read from further away less often. 0 where none was measured."""
    shared = steps.decode_attention_flops_per_second
    if shared is None:
        return 0.0
    unshared = steps.unshared_attention_flops_per_second or shared
    part = math.log(max(1.0, queries_per_key), QUERIES_PER_KEY)
    return 1 / unshared + min(part, 1.0) * (1 / shared - 1 / unshared)
