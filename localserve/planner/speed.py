"""Tokens per second that a plan will give, from measured rates and the model's own tensors.

An answer's token reads every active weight once, and the cache up to where it stands. A prompt
multiplies every active weight with every token, but those behind the last layer's attention: they
are computed for the tokens that are answered to only. Besides, each operation of a step takes time
to start, and some work is done element by element, which small models notice. All are sums over the
devices, which take turns. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from localserve.gguf.facts import GgufFacts
from localserve.gguf.header import Tensor
from localserve.planner.bandwidth import QUERIES_PER_KEY, StepRates
from localserve.planner.formula import CACHE_BITS, has_cache, homes, layer_devices
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

BESIDES_TENSORS = 9
"""Operations of a layer that belong to none of its tensors: two rotations, two writes to the cache,
attention, an activation, two sums and a reshaping copy. Source: llama.cpp's models/."""

ROUTING = 10
"""Operations more where experts are chosen. Source: build_moe_ffn in llama-graph.cpp."""


@dataclass(frozen=True, slots=True)
class TokenTime:
    """What one token of an answer spends its time on, in seconds."""

    weights: float
    attention: float
    starts: float

    @property
    def total(self) -> float:
        return self.weights + self.attention + self.starts

    def __mul__(self, factor: float) -> TokenTime:
        return TokenTime(self.weights * factor, self.attention * factor, self.starts * factor)


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one answer at a time, in tokens per second.

    `token` is where the time of one token goes that has DECODE_AT_TOKENS before it. `prompt` and
    `first_token_seconds`, for a prompt of PROMPT_TOKENS, are None where a device's rate of
    computing was not measured.
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
    return Speed(token, PROMPT_TOKENS / first, first)


@dataclass(frozen=True, slots=True)
class Share:
    """What one token uses of the weights of one type on one device.

    `read_bytes` and `weights` are of the experts in use only, `held_bytes` of all.
    """

    read_bytes: float = 0.0
    weights: float = 0.0
    held_bytes: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(
            self.read_bytes + other.read_bytes,
            self.weights + other.weights,
            self.held_bytes + other.held_bytes,
        )


Shares = Mapping[tuple[str, str], Share]
"""By device and type."""


@dataclass(frozen=True)
class Forecast:
    """The times that a model takes, run in one way, as nothing but measured rates tell them."""

    facts: GgufFacts = field(repr=False)
    runtime: Runtime
    machine: Machine = field(repr=False)

    def token_seconds(self, filled: int) -> float | None:
        """Time for one token of an answer with `filled` tokens before it; None where a device's
        rates are not known."""
        time = self.token_time(filled)
        return None if time is None else time.total

    def token_time(self, filled: int) -> TokenTime | None:
        """`token_seconds` by what it is spent on."""
        if not self._known:
            return None
        weights = sum(
            share.read_bytes / decode_rate(self.machine.place(device), kind)
            for shares in (self.body, self.head)
            for (device, kind), share in shares.items()
        )
        return TokenTime(weights, self._attention_seconds(1, filled), self._starting_seconds)

    def prompt_seconds(self, tokens: int, filled: int = 0) -> float | None:
        """Time to the first token of the answer to a prompt of which `filled` tokens are in the
        cache already and `tokens` are not; None like `token_seconds`, or where only reading was
        measured."""
        if not self._known:
            return None
        seconds = 0.0
        for begin in range(0, tokens, self.runtime.batch_tokens):
            count = min(self.runtime.batch_tokens, tokens - begin)
            seconds += self._batch_seconds(count, filled + begin)
        for (device, kind), share in self.head.items():
            seconds += share.read_bytes / decode_rate(self.machine.place(device), kind)
        return None if math.isnan(seconds) else seconds

    @cached_property
    def body(self) -> Shares:
        """The weights that every token is multiplied with."""
        return self._shares(head=False)

    @cached_property
    def head(self) -> Shares:
        """The weights behind the last attention: only a token that is answered to needs them."""
        return self._shares(head=True)

    @cached_property
    def _places(self) -> list[str]:
        layers = self.facts.hyperparameters.layers
        return layer_devices(layers, self.runtime, self.machine.gpu_names)

    @cached_property
    def _known(self) -> bool:
        """Whether there is a rate for each device with weights."""
        used = {device for shares in (self.body, self.head) for device, _ in shares}
        return bool(used) and all(self.machine.place(device).rates for device in used)

    def _shares(self, *, head: bool) -> Shares:
        sums: dict[tuple[str, str], Share] = {}
        for tensor in self.facts.tensors:
            if _multiplied(tensor, self.facts) and _in_head(tensor, self.facts) is head:
                part = _active_part(tensor.name, self.facts)
                device = homes(tensor, self._places, self.facts, self.runtime)[-1]
                share = Share(part * tensor.size_bytes, part * tensor.elements, tensor.size_bytes)
                key = (device, tensor.type.name)
                sums[key] = sums.get(key, Share()) + share
        return sums

    def _batch_seconds(self, tokens: int, filled: int) -> float:
        """Time for so many tokens at once: weights are multiplied with each and read for all."""
        seconds = 0.0
        for (device, kind), share in self.body.items():
            place = self.machine.place(device)
            computing = tokens * 2 * share.weights / prompt_rate(place, kind)
            reading = min(tokens * share.read_bytes, share.held_bytes) / decode_rate(place, kind)
            seconds += max(computing, reading)
        seconds += self._attention_seconds(tokens, filled) + self._starting_seconds
        for place, layers in self._layers_by_place():
            rate = place.steps.element_bytes_per_second
            if rate is not None:
                seconds += tokens * len(layers) * self._element_bytes / rate
        return seconds

    def _attention_seconds(self, tokens: int, filled: int) -> float:
        """Time in which so many tokens look at those in the cache and at each other."""
        attention = self.facts.hyperparameters.attention
        window = attention.sliding_window
        seconds = 0.0
        for place, layers in self._layers_by_place():
            operations = cache_bytes = 0.0
            for layer in layers:
                if not has_cache(self.facts, layer):
                    continue
                seen = filled + tokens / 2
                if attention.windowed[layer] and window is not None:
                    seen = min(seen, window)
                lengths = attention.key_length + attention.value_length
                operations += 2 * attention.heads(layer) * lengths * tokens * seen
                cache_bytes += seen * self._cell_bytes(layer)
            seconds += _attending(place, tokens, operations, cache_bytes, self._queries_per_key)
        return seconds

    @cached_property
    def _queries_per_key(self) -> float:
        attention = self.facts.hyperparameters.attention
        return sum(attention.heads_per_layer) / max(1, sum(attention.kv_heads_per_layer))

    def _cell_bytes(self, layer: int) -> float:
        """What one token's keys and values take of a layer's cache."""
        attention, runtime = self.facts.hyperparameters.attention, self.runtime
        bits = attention.key_length * CACHE_BITS[runtime.cache_type_k]
        if attention.latent:
            return bits / 8
        bits += attention.value_length * CACHE_BITS[runtime.cache_type_v]
        return attention.kv_heads(layer) * bits / 8

    @cached_property
    def _starting_seconds(self) -> float:
        """Time to start all operations of a step."""
        counts: Counter[str] = Counter()
        for tensor in self.facts.tensors:
            counts[homes(tensor, self._places, self.facts, self.runtime)[-1]] += 1
        experts = self.facts.hyperparameters.experts
        for device in self._places[:-1]:
            counts[device] += BESIDES_TENSORS + (ROUTING if experts is not None else 0)
        return sum(
            count * (self.machine.place(device).steps.operation_seconds or 0.0)
            for device, count in counts.items()
        )

    @cached_property
    def _element_bytes(self) -> float:
        """What one token's elementwise operations read and write in a layer, in F32: norms, sums,
        rotations and the activation."""
        sizes = self.facts.hyperparameters
        attention, experts = sizes.attention, sizes.experts
        inner = max(sizes.feed_forward_lengths, default=0)
        if experts is not None and experts.used:
            inner = experts.used * (experts.feed_forward_length or inner)
        rotated = attention.key_length * (
            max(attention.heads_per_layer, default=0) + max(attention.kv_heads_per_layer, default=0)
        )
        return 4 * (10 * (sizes.embedding_length or 0) + 4 * rotated + 3 * inner)

    def _layers_by_place(self) -> Iterator[tuple[Place, list[int]]]:
        for device in dict.fromkeys(self._places[:-1]):
            layers = [number for number, one in enumerate(self._places[:-1]) if one == device]
            yield self.machine.place(device), layers


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


def _attending(
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


def _multiplied(tensor: Tensor, facts: GgufFacts) -> bool:
    """Whether the tensor is a matrix of a product, and not one whose rows are looked up."""
    if len(tensor.shape) < 2:
        return False
    return facts.tied_embeddings or tensor.name != "token_embd.weight"


def _in_head(tensor: Tensor, facts: GgufFacts) -> bool:
    """Whether only tokens that are answered to need the tensor: the output and the last layer's
    feed-forward part. Source: inp_out_ids in llama.cpp's models/."""
    if not facts.hyperparameters.attention.causal:  # embeddings: of all tokens
        return False
    if tensor.name.startswith("output") or tensor.name == "token_embd.weight":
        return True
    return tensor.name.startswith(f"blk.{facts.hyperparameters.layers - 1}.ffn_")


def _active_part(name: str, facts: GgufFacts) -> float:
    """The part of a tensor that one token uses."""
    experts = facts.hyperparameters.experts
    if experts is None or "_exps" not in name or not experts.count:
        return 1.0
    return experts.used / experts.count
