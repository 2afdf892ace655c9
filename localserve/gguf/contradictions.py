"""Sizes in a header that contradict each other so that llama.cpp aborts or divides by zero.

Each check yields one sentence per problem, with the numbers. Pure. Source: the assertions in
llama-model.cpp, llama-graph.cpp and src/models/ of llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from localserve.gguf.architectures import (
    DELTA,
    EQUAL_HEAD_LENGTHS,
    FULL_ATTENTION_INTERVAL,
    FULL_ROTATION,
    MAMBA_2,
    NO_ROPE,
    RWKV,
    RWKV_7,
    SQUARE_QUERIES,
    WINDOW_LISTED,
    WINDOWS,
)
from localserve.gguf.facts import GgufFacts
from localserve.gguf.hyperparameters import MAX_LAYERS

MAX_EXPERTS: Final = 1024
GATINGS: Final = range(5)
MAX_WINDOW: Final = 1 << 24
RWKV_7_HEAD: Final = 64
"""Floats; what AVX-512 takes at once in ggml's WKV-7 loop, and every published model's head."""
POOLING_TYPES: Final = range(5)
ROPE_SCALINGS: Final = ("none", "linear", "yarn", "longrope")


def size_problems(facts: GgufFacts) -> Iterator[str]:
    """What is wrong with the hyperparameters, the most basic first."""
    for check in _CHECKS:
        yield from check(facts)


def _layers(facts: GgufFacts) -> Iterator[str]:
    sizes = facts.hyperparameters
    if not 1 <= sizes.layers <= MAX_LAYERS:
        yield f"it says that it has {sizes.layers} layers (block_count); 1 to {MAX_LAYERS} load."
    if sizes.next_token_layers >= max(sizes.layers, 1):
        yield (
            f"{sizes.next_token_layers} of its {sizes.layers} layers only predict further tokens"
            " (nextn_predict_layers); at least one must not."
        )
    if sizes.context_length == 0:
        yield "its context_length is 0."
    if not sizes.embedding_length:
        yield f"its embedding_length is {'missing' if sizes.embedding_length is None else 0}."


def _experts(facts: GgufFacts) -> Iterator[str]:
    experts = facts.hyperparameters.experts
    if experts is None:
        return
    if experts.count > MAX_EXPERTS:
        yield f"it says that it has {experts.count} experts; up to {MAX_EXPERTS} load."
        return
    small_hunyuan = facts.architecture in ("hunyuan-dense", "hunyuan_vl") and experts.count <= 1
    if not small_hunyuan and not 1 <= experts.used <= experts.count:
        yield (
            f"{experts.used} of its {experts.count} experts are used per token"
            " (expert_used_count); at least 1 and at most all must be."
        )
    per_layer = set(
        facts.metadata.per_layer(
            f"{facts.architecture}.expert_used_count",
            min(facts.hyperparameters.layers, MAX_LAYERS),
        )
        or ()
    )
    if len(per_layer) > 1 and not facts.architecture.startswith("nemotron_h"):
        yield (
            f"its layers use from {min(per_layer)} to {max(per_layer)} experts; in"
            f" {facts.architecture} all use as many."
        )
    if experts.groups and (experts.groups >= experts.count or experts.count % experts.groups):
        yield f"its {experts.count} experts do not divide into {experts.groups} groups."
    gating = facts.metadata.integer(f"{facts.architecture}.expert_gating_func")
    if gating is not None and gating not in GATINGS:
        yield f"its expert_gating_func is {gating}; llama.cpp knows 0 to {max(GATINGS)}."
    if experts.groups > 1 and not 0 < experts.groups_used < experts.groups:
        yield f"{experts.groups_used} of its {experts.groups} expert groups are used."


def _rope(facts: GgufFacts) -> Iterator[str]:
    scaling = facts.hyperparameters.rope.scaling
    if scaling not in ROPE_SCALINGS:
        yield (
            f"its rope.scaling.type is {ascii(scaling)[:40]}; llama.cpp knows"
            f" {', '.join(ROPE_SCALINGS)}."
        )


def _intervals(facts: GgufFacts) -> Iterator[str]:
    """Numbers of layers that llama.cpp divides by."""
    names = []
    if facts.architecture in FULL_ATTENTION_INTERVAL:
        names.append("full_attention_interval")
    if facts.architecture == "ernie4_5-moe":
        names.append("interleave_moe_layer_step")
    for name in names:
        if facts.metadata.integer(f"{facts.architecture}.{name}") == 0:
            yield f"its {name} is 0, and llama.cpp divides by it."


def _attention(facts: GgufFacts) -> Iterator[str]:
    attention = facts.hyperparameters.attention
    for layer, heads in enumerate(attention.heads_per_layer):
        kv_heads = attention.kv_heads(layer)
        if heads and kv_heads and heads % kv_heads:
            yield f"{heads} heads do not divide into {kv_heads} key-value heads (layer {layer})."
    if not attention.heads_per_layer or not attention.heads(0):
        return
    if attention.latent:
        yield from _latent_attention(facts)
        return
    if facts.architecture in EQUAL_HEAD_LENGTHS and attention.key_length != attention.value_length:
        yield (
            f"its keys are {attention.key_length} and its values {attention.value_length} long;"
            f" in {facts.architecture} they are equal."
        )
    width = facts.hyperparameters.embedding_length or 0
    if facts.architecture in SQUARE_QUERIES and attention.heads(0) * attention.key_length != width:
        yield (
            f"{attention.heads(0)} heads of {attention.key_length} are not its embedding_length"
            f" of {width}."
        )
    windowed = attention.key_length_windowed, attention.value_length_windowed
    if facts.architecture == "gpt-oss" and set(windowed) != {attention.key_length}:
        yield (
            f"its windowed heads are {windowed[0]} and {windowed[1]} long, the others"
            f" {attention.key_length}; in gpt-oss they are equal."
        )


def _rotation(facts: GgufFacts) -> Iterator[str]:
    """How much of a head is rotated: an odd number aborts, none lets llama.cpp loop for ever."""
    attention = facts.hyperparameters.attention
    rotated = facts.hyperparameters.rope.dimension_count
    if rotated is None or facts.architecture in NO_ROPE or not any(attention.heads_per_layer):
        return
    length = attention.key_length
    whole = facts.architecture in FULL_ROTATION and attention.key_length_windowed == length
    if (
        rotated % 2
        or not rotated
        or rotated > max(length, attention.key_length_windowed)
        or (whole and rotated != length)
    ):
        yield f"{rotated} of {length} numbers per head are rotated (rope.dimension_count)."


def _windows(facts: GgufFacts) -> Iterator[str]:
    attention, name = facts.hyperparameters.attention, facts.architecture
    window = facts.metadata.integer(f"{name}.attention.sliding_window")
    if window is None and name in WINDOWS:
        window = WINDOWS[name].default
    if name == "llama4" and window == 0:
        yield "its sliding_window is 0; llama4 has layers that need one."
    if attention.sliding_window is not None and attention.sliding_window > MAX_WINDOW:
        yield f"its window of {attention.sliding_window} tokens is past {MAX_WINDOW}."
    if not window or any(attention.windowed) or name == "exaone4":
        return
    if name in WINDOWS or name in WINDOW_LISTED:
        yield f"it has a window of {window} tokens and no layer that uses it."


def _latent_attention(facts: GgufFacts) -> Iterator[str]:
    attention, rope = facts.hyperparameters.attention, facts.hyperparameters.rope
    rank, rotated = attention.kv_lora_rank or 0, rope.dimension_count or 0
    if rotated >= (attention.key_length_mla or 0):
        yield (
            f"its rotated part (rope.dimension_count {rotated}) is not smaller than a head"
            f" (attention.key_length_mla {attention.key_length_mla})."
        )
    if facts.architecture == "deepseek2" and set(attention.kv_heads_per_layer) != {1}:
        found = ", ".join(map(str, sorted(set(attention.kv_heads_per_layer))))
        yield f"its layers have {found} key-value heads; with latent attention each has 1."
    if facts.architecture == "deepseek2" and attention.key_length != rank + rotated:
        yield (
            f"its cached key of {attention.key_length} is not kv_lora_rank {rank} plus the rotated"
            f" {rotated}."
        )


def _recurrence(facts: GgufFacts) -> Iterator[str]:
    recurrence, name = facts.hyperparameters.recurrence, facts.architecture
    width = facts.hyperparameters.embedding_length or 0
    if recurrence is None:
        return
    inner, groups, rank = (
        recurrence.inner_size,
        recurrence.group_count,
        recurrence.time_step_rank,
    )
    if name in MAMBA_2 and (not groups or not rank or inner % groups or inner % rank):
        yield (
            f"its ssm.inner_size {inner} does not divide into {groups} groups (ssm.group_count)"
            f" and {rank} heads (ssm.time_step_rank)."
        )
    if name in ("jamba", "granitehybrid") and inner != 2 * width:
        yield f"its ssm.inner_size {inner} is not twice its embedding_length {width}."
    if name in DELTA and (
        not groups or not rank or rank % groups or inner != recurrence.state_size * rank
    ):
        yield (
            f"its ssm.inner_size {inner} is not {rank} heads (ssm.time_step_rank) in {groups}"
            f" groups of state {recurrence.state_size}."
        )
    if name in RWKV:
        head = recurrence.wkv_head_size
        if not head or width % head:
            yield f"its embedding_length {width} does not divide into heads of {head} (wkv)."
        elif name in RWKV_7 and head % RWKV_7_HEAD:
            yield f"its wkv.head_size is {head}; llama.cpp needs a multiple of {RWKV_7_HEAD}."
    if name in ("lfm2", "lfm2moe") and recurrence.shortconv_length < 2:
        yield f"its shortconv.l_cache is {recurrence.shortconv_length}; at least 2 is needed."


def _numbers(facts: GgufFacts) -> Iterator[str]:
    """Values that make every answer wrong, or end the process at the first request."""
    for name in ("layer_norm_epsilon", "layer_norm_rms_epsilon"):
        epsilon = facts.metadata.number(f"{facts.architecture}.attention.{name}")
        if epsilon is not None and not (math.isfinite(epsilon) and epsilon >= 0):
            yield f"its attention.{name} is {epsilon}."
    pooling = facts.hyperparameters.pooling_type
    if pooling is not None and pooling not in POOLING_TYPES:
        yield f"its pooling_type is {pooling}; llama.cpp knows 0 to {max(POOLING_TYPES)}."


_CHECKS: Final[tuple[Callable[[GgufFacts], Iterator[str]], ...]] = (
    _layers,
    _experts,
    _rope,
    _intervals,
    _attention,
    _rotation,
    _windows,
    _recurrence,
    _numbers,
)
