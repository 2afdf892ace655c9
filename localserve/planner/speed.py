"""Tokens per second that a plan will give, from measured rates and the model's own tensors.

An answer's token reads every active weight once, and the cache up to where it stands. A prompt
multiplies every active weight with every token. Both are sums over the devices, which take turns.
Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localserve.gguf.facts import GgufFacts
from localserve.planner.formula import cache_bytes, has_cache, homes, layer_devices
from localserve.planner.machine import Machine, Place
from localserve.planner.runtime import Runtime

DECODE_AT_TOKENS = 1024
"""How full the context is taken to be for the decode rate that is shown."""

PROMPT_TOKENS = 1024
"""The length of the prompt whose time to first token is shown."""

NEAREST = {
    "F32": "F16",
    "BF16": "F16",
    "Q5_0": "Q8_0",
    "Q5_1": "Q8_0",
    "Q6_K": "Q4_K",
    "Q5_K": "Q4_K",
}
"""The measured type that behaves most alike; all others count as Q4_K."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one answer at a time, in tokens per second.

    `prompt` and `first_token_seconds`, for a prompt of PROMPT_TOKENS, are None where a device's
    rate of computing was not measured. Where vectors are made `decode` is the rate of `prompt`, and
    there is no first token.
    """

    decode: float
    prompt: float | None
    first_token_seconds: float | None


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measured over predicted time, learned from `answers` on this machine; 1 is 'as predicted'."""

    decode: float = 1.0
    prompt: float = 1.0
    answers: int = 0


AS_PREDICTED = Corrections()


def predict(
    facts: GgufFacts,
    runtime: Runtime,
    machine: Machine,
    corrections: Corrections = AS_PREDICTED,
) -> Speed | None:
    """The speed of the model so run; None where the rate of a device is not known."""
    reading = computing = 0.0
    for device, types in active_bytes(facts, runtime, machine).items():
        place = machine.place(device)
        if not place.rates:
            return None
        for kind, (size, weights) in types.items():
            reading += size / decode_rate(place, kind)
            computing += 2 * weights / prompt_rate(place, kind)
    places = layer_devices(facts.hyperparameters.layers, runtime, machine.gpu_names)
    reading += _cache_seconds(facts, runtime, machine, places)
    computing += _attention_seconds(facts, machine, places)
    if reading <= 0:
        return None
    reading, computing = reading * corrections.decode, computing * corrections.prompt
    if math.isnan(computing) or computing <= 0:
        return Speed(1 / reading, None, None)
    if runtime.pooling is not None:
        return Speed(1 / computing, 1 / computing, None)
    return Speed(1 / reading, 1 / computing, PROMPT_TOKENS * computing + reading)


def active_bytes(
    facts: GgufFacts, runtime: Runtime, machine: Machine
) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """By device and type, the bytes and the number of weights that one token uses."""
    places = layer_devices(facts.hyperparameters.layers, runtime, machine.gpu_names)
    sums: dict[str, dict[str, tuple[float, float]]] = {}
    for tensor in facts.tensors:
        if len(tensor.shape) < 2 or (
            tensor.name == "token_embd.weight" and not facts.tied_embeddings
        ):
            continue
        share = _active_share(tensor.name, facts)
        device = homes(tensor, places, facts, runtime)[-1]
        read = sums.setdefault(device, {})
        size, weights = read.get(tensor.type.name, (0.0, 0.0))
        read[tensor.type.name] = (
            size + share * tensor.size_bytes,
            weights + share * tensor.elements,
        )
    return sums


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
    for name in (kind, NEAREST.get(kind, "Q4_K"), "Q8_0", "F16"):
        if name in rates:
            return rates[name]
    return next(iter(rates.values()), math.nan)


def _active_share(name: str, facts: GgufFacts) -> float:
    """The part of a tensor that one token uses."""
    experts = facts.hyperparameters.experts
    if experts is None or "_exps" not in name or not experts.count:
        return 1.0
    return experts.used / experts.count


def _cache_seconds(
    facts: GgufFacts, runtime: Runtime, machine: Machine, places: Sequence[str]
) -> float:
    """Time to read the cache once, filled up to DECODE_AT_TOKENS."""
    read: Counter[str] = Counter()
    share = min(1.0, DECODE_AT_TOKENS / max(1, runtime.context_tokens))
    for layer, device in enumerate(places[:-1]):
        if has_cache(facts, layer):
            read[device] += int(cache_bytes(facts, runtime, layer) * share)
    return sum(
        size / decode_rate(place, "F16")
        for device, size in read.items()
        if (place := machine.place(device)).rates
    )


def _attention_seconds(facts: GgufFacts, machine: Machine, places: Sequence[str]) -> float:
    """Time per token for the scores and sums of attention, halfway through PROMPT_TOKENS."""
    attention = facts.hyperparameters.attention
    lengths = attention.key_length + attention.value_length
    seconds = 0.0
    for layer, device in enumerate(places[:-1]):
        if has_cache(facts, layer):
            operations = 2 * attention.heads(layer) * lengths * PROMPT_TOKENS / 2
            seconds += operations / prompt_rate(machine.place(device), "F16")
    return seconds
