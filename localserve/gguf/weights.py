"""Tensors that are missing, or stored as what llama.cpp does not compute, so that it dies.

Each check yields one sentence per problem. Pure. Source: ggml's and llama.cpp's assertions, and
what crashed when each tensor of small models was left out or stored in another type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from localserve.gguf.architectures import DELTA, HYBRID, MAMBA_2
from localserve.gguf.facts import GgufFacts

_NOT_WEIGHTS: Final = frozenset({"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"})
_TABLES: Final = re.compile(r"tid2eid")
"""Tensors of whole numbers: which experts a token goes to."""

_ELEMENTWISE: Final = re.compile(
    r"(_norm(_2)?(\.weight)?|\.bias|time_mix_(ln|[wav]0|k_k|k_a|r_k|lerp_fused)\.weight"
    r"|channel_mix_lerp_k\.weight|ssm_a|ssm_d|ssm_conv1d(_[qkv])?\.weight|shortconv\.conv\.weight"
    r"|attn_sinks\.weight|token_types\.weight)$"
)
"""Tensors that are added, multiplied or convolved: only as F32."""

_SEPARATE: Final = frozenset({"attn_q.weight", "attn_k.weight", "attn_v.weight"})
_KEYS_ARE_CACHED: Final = frozenset({"jamba", "granitehybrid", "falcon-h1", "lfm2", *DELTA})
"""Hybrids whose attention layers have no other kind of keys than those in the cache."""


def tensor_problems(facts: GgufFacts) -> Iterator[str]:
    """What is wrong with the tensors' types, sizes and number."""
    yield from _types(facts)
    yield from _missing(facts)
    yield from _keys(facts)


def _types(facts: GgufFacts) -> Iterator[str]:
    for tensor in facts.tensors:
        if tensor.type.name in _NOT_WEIGHTS and not _TABLES.search(tensor.name):
            yield f"the weights {tensor.name} are stored as {tensor.type.name}, which has no use."
        if tensor.type.name != "F32" and _ELEMENTWISE.search(tensor.name):
            yield f"{tensor.name} is {tensor.type.name}; llama.cpp computes it as F32 only."


def _missing(facts: GgufFacts) -> Iterator[str]:
    """Tensors that llama.cpp takes for optional when it loads, and not when it computes."""
    for layer in range(_layer_count(facts)):
        there = {name for name in _OPTIONAL if facts.tensor(f"blk.{layer}.{name}")}
        wanted = _alternatives(facts, layer)
        if wanted and not any(there >= names for names in wanted):
            listed = " or ".join(" and ".join(sorted(names)) for names in wanted)
            yield f"layer {layer} lacks {listed}."
            return


_OPTIONAL: Final = _SEPARATE | {
    "attn_qkv.weight",
    "attn_gate.weight",
    "ssm_in.weight",
    "ssm_conv1d.bias",
}


def _alternatives(facts: GgufFacts, layer: int) -> tuple[frozenset[str], ...]:
    """Sets of tensors of which a layer needs one set; none where it needs nothing special."""
    recurrence = facts.hyperparameters.recurrence
    recurrent = recurrence is not None and recurrence.layers[layer]
    if facts.architecture in ("phi3", "pockettts"):
        return frozenset({"attn_qkv.weight"}), _SEPARATE
    if facts.architecture == "qwen3next" and recurrent:
        return frozenset({"attn_qkv.weight", "attn_gate.weight"}), frozenset({"ssm_in.weight"})
    if facts.architecture in MAMBA_2 and recurrent and facts.tensor(f"blk.{layer}.ssm_a"):
        return (frozenset({"ssm_conv1d.bias"}),)
    return ()


def _keys(facts: GgufFacts) -> Iterator[str]:
    """Layers whose projections make other keys than the cache has room for."""
    attention = facts.hyperparameters.attention
    recurrence = facts.hyperparameters.recurrence
    if attention.latent or (
        facts.architecture in HYBRID and facts.architecture not in _KEYS_ARE_CACHED
    ):
        return
    varied = len(set(attention.kv_heads_per_layer)) > 1
    for layer in range(_layer_count(facts)):
        both = facts.architecture == "falcon-h1"  # each of its layers has attention as well
        if recurrence is not None and recurrence.layers[layer] and not both:
            continue
        windowed = attention.windowed[layer]
        key = attention.key_length_windowed if windowed else attention.key_length
        value = attention.value_length_windowed if windowed else attention.value_length
        heads, kv_heads = attention.heads(layer), attention.kv_heads(layer)
        wanted = {"attn_k": kv_heads * key}
        if varied:
            wanted["attn_qkv"] = heads * key + kv_heads * (key + value)
        for name, rows in wanted.items():
            tensor = facts.tensor(f"blk.{layer}.{name}.weight")
            if tensor is not None and heads and tensor.shape[1:] != (rows,):
                made = " x ".join(map(str, tensor.shape[1:])) or "1"
                yield (
                    f"{tensor.name} has {made} rows where {heads} heads and {kv_heads} key-value"
                    f" heads of {key} need {rows}."
                )
                return


def _layer_count(facts: GgufFacts) -> int:
    return len(facts.hyperparameters.attention.heads_per_layer)
