"""The times of one model run in one way: per token of an answer, and to the first one.

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
from localserve.planner.formula import CACHE_BITS, has_cache, homes, layer_devices
from localserve.planner.machine import Machine, Place
from localserve.planner.rates import attention_seconds, decode_rate, prompt_rate
from localserve.planner.runtime import Runtime

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
            seconds += attention_seconds(
                place, tokens, operations, cache_bytes, self._queries_per_key
            )
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
