"""Tokens per second that a plan will give, from measured rates and the model's own tensors.

An answer's token reads every active weight once, and the cache up to where it stands. A prompt
multiplies every active weight with every token. Both are sums over the devices, which take turns.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from localserve.gguf.facts import GgufFacts
from localserve.planner.formula import cache_bytes, has_cache, homes, layer_devices
from localserve.planner.machine import Machine, Place, Rate
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
    """`decode` and `prompt` in tokens per second, of one answer at a time; seconds until the first
    token of a prompt of PROMPT_TOKENS."""

    decode: float
    prompt: float
    first_token_seconds: float


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measured over predicted time, learned from real runs on this machine; 1 is 'as predicted'."""

    decode: float = 1.0
    prompt: float = 1.0


def predict(
    facts: GgufFacts,
    runtime: Runtime,
    machine: Machine,
    corrections: Corrections = Corrections(),
) -> Speed | None:
    """The speed of the model so run; None where no rate of a device is known."""
    decode = prompt = 0.0
    for device, read in active_bytes(facts, runtime, machine).items():
        place = machine.place(device)
        if not place.rates:
            return None
        for kind, (size, weights) in read.items():
            rate = rate_of(place, kind)
            decode += size / rate.decode_bytes_per_second
            prompt += 2 * weights / rate.prompt_flops_per_second
    decode += _cache_seconds(facts, runtime, machine)
    prompt += _attention_seconds(facts, runtime, machine)
    decode, prompt = decode * corrections.decode, prompt * corrections.prompt
    if decode <= 0 or prompt <= 0:
        return None
    return Speed(1 / decode, 1 / prompt, PROMPT_TOKENS * prompt + decode)


def active_bytes(
    facts: GgufFacts, runtime: Runtime, machine: Machine
) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """By device and type, the bytes and the number of weights that one token uses."""
    gpus = [place.name for place in machine.gpus]
    places = layer_devices(facts.hyperparameters.layers, runtime, gpus)
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


def rate_of(place: Place, kind: str) -> Rate:
    """The rate of a type: measured, or of the type that behaves most alike."""
    for name in (kind, NEAREST.get(kind, "Q4_K"), "Q8_0", "F16"):
        if name in place.rates:
            return place.rates[name]
    return next(iter(place.rates.values()))


def _active_share(name: str, facts: GgufFacts) -> float:
    """The part of a tensor that one token uses."""
    experts = facts.hyperparameters.experts
    if experts is None or "_exps" not in name or not experts.count:
        return 1.0
    return experts.used / experts.count


def _cache_seconds(facts: GgufFacts, runtime: Runtime, machine: Machine) -> float:
    """Time to read the cache once, filled up to DECODE_AT_TOKENS."""
    read: Counter[str] = Counter()
    gpus = [place.name for place in machine.gpus]
    places = layer_devices(facts.hyperparameters.layers, runtime, gpus)
    for layer, device in enumerate(places[:-1]):
        if has_cache(facts, layer):
            share = min(1.0, DECODE_AT_TOKENS / max(1, runtime.context_tokens))
            read[device] += int(cache_bytes(facts, runtime, layer) * share)
    return sum(
        size / rate_of(machine.place(device), "F16").decode_bytes_per_second
        for device, size in read.items()
        if machine.place(device).rates
    )


def _attention_seconds(facts: GgufFacts, runtime: Runtime, machine: Machine) -> float:
    """Time per token for the scores and sums of attention, halfway through PROMPT_TOKENS."""
    attention = facts.hyperparameters.attention
    gpus = [place.name for place in machine.gpus]
    places = layer_devices(facts.hyperparameters.layers, runtime, gpus)
    seconds = 0.0
    for layer, device in enumerate(places[:-1]):
        place = machine.place(device)
        if not has_cache(facts, layer) or not place.rates:
            continue
        lengths = attention.key_length + attention.value_length
        operations = 2 * attention.heads(layer) * lengths * PROMPT_TOKENS / 2
        seconds += operations / rate_of(place, "F16").prompt_flops_per_second
    return seconds
