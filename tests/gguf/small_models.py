"""Writes small random models of many architectures, each of which llama.cpp loads and runs.

A model is its hyperparameters and its tensors' shapes, both in this file; weights are random with a
fixed seed. Knows nothing of llama.cpp's interface.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize

from benchmarks.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, build_vocabulary

VOCABULARY = 512
WIDTH = 64
CONTEXT = 4_096

Value = bool | int | float | str | list[int] | list[bool]
Shape = tuple[int, ...]
"""Innermost first, as the file has it."""


@dataclass(frozen=True)
class SmallModel:
    """One made-up model. `keys` are without the architecture's name; `tensors` by full name."""

    name: str
    architecture: str
    keys: Mapping[str, Value]
    tensors: Mapping[str, Shape]
    tokenizer: str = "gpt2"
    extra_keys: Mapping[str, Value] = field(default_factory=dict)


def write_small_model(
    path: Path,
    model: SmallModel,
    weights: GGMLQuantizationType = GGMLQuantizationType.F32,
    shards: int = 1,
) -> Path:
    """Write the model; `weights` is the type of matrices whose rows it divides.

    With several `shards` the path is the stem, and the first shard's path is returned.
    """
    limit = -(-len(model.tensors) // shards) if shards > 1 else 0
    writer = GGUFWriter(path, model.architecture, split_max_tensors=limit)
    _add_keys(writer, model)
    _add_tokenizer(writer, model.tokenizer)
    for name, shape in model.tensors.items():
        _add_tensor(writer, name, shape, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if shards == 1:
        return path
    return path.with_name(f"{path.stem}-00001-of-{shards:05}.gguf")


def _add_keys(writer: GGUFWriter, model: SmallModel) -> None:
    # not "phi3": llama.cpp looks for the words of Phi-3's vocabulary in models of that name
    writer.add_name(f"Small {model.name.replace('phi3', 'Phi')}")
    common: dict[str, Value] = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "vocab_size": VOCABULARY,
    }
    for key, value in (common | dict(model.keys)).items():
        _add(writer, f"{model.architecture}.{key}", value)
    for key, value in model.extra_keys.items():
        _add(writer, key, value)


def _add(writer: GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _add_tokenizer(writer: GGUFWriter, kind: str) -> None:
    vocabulary = build_vocabulary(VOCABULARY)
    special = [TokenType.CONTROL] * len(SPECIAL_TOKENS)
    writer.add_tokenizer_model(kind)
    if kind == "gpt2":
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(vocabulary.merges)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([TokenType.NORMAL] * vocabulary.ordinary + special)
    writer.add_bos_token_id(vocabulary.id_of("<|im_start|>"))
    writer.add_eos_token_id(vocabulary.id_of("<|im_end|>"))
    writer.add_add_bos_token(False)
    if kind == "bert":
        writer.add_token_type_count(2)
        writer.add_sep_token_id(vocabulary.id_of("<|im_end|>"))
        writer.add_unk_token_id(vocabulary.id_of("<|endoftext|>"))
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensor(writer: GGUFWriter, name: str, shape: Shape, weights: GGMLQuantizationType) -> None:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    rows_first = shape[::-1]
    if name.endswith(("norm.weight", "_norm")):
        values = np.ones(rows_first, dtype=np.float32)
    elif name.endswith("ssm_a"):  # a decay: negative
        values = -np.exp(random.standard_normal(rows_first, dtype=np.float32))
    else:
        values = random.standard_normal(rows_first, dtype=np.float32) * shape[0] ** -0.5
    block = {GGMLQuantizationType.Q8_0: 32, GGMLQuantizationType.Q4_0: 32}.get(weights, 1)
    if _is_weight_matrix(name, shape) and shape[0] % block == 0:
        writer.add_tensor(name, quantize(values, weights), raw_dtype=weights)
    else:
        writer.add_tensor(name, values)


def _is_weight_matrix(name: str, shape: Shape) -> bool:
    plain = (
        "norm",
        "lerp",
        "norm",
        "conv",
        "ssm_x",
        "ssm_dt",
        "ffn_gate_inp",
        "position",
        "token_types",
        "time_mix",
    )
    return len(shape) > 1 and name.endswith(".weight") and not any(p in name for p in plain)


Block = Iterator[tuple[str, Shape]]


def _attention(
    heads: int, kv_heads: int, head: int, *, bias: bool = False, norms: bool = False
) -> Block:
    yield "attn_norm.weight", (WIDTH,)
    sizes = {"q": heads * head, "k": kv_heads * head, "v": kv_heads * head}
    for letter, size in sizes.items():
        yield f"attn_{letter}.weight", (WIDTH, size)
        if bias:
            yield f"attn_{letter}.bias", (size,)
    if norms:
        yield "attn_q_norm.weight", (head,)
        yield "attn_k_norm.weight", (head,)
    yield "attn_output.weight", (heads * head, WIDTH)


def _feed_forward(length: int, *, norm: str = "ffn_norm.weight") -> Block:
    yield norm, (WIDTH,)
    yield "ffn_gate.weight", (WIDTH, length)
    yield "ffn_up.weight", (WIDTH, length)
    yield "ffn_down.weight", (length, WIDTH)


def _experts(count: int, length: int, *, norm: bool = True, shared: int = 0) -> Block:
    if norm:
        yield "ffn_norm.weight", (WIDTH,)
    yield "ffn_gate_inp.weight", (WIDTH, count)
    yield "ffn_gate_exps.weight", (WIDTH, length, count)
    yield "ffn_up_exps.weight", (WIDTH, length, count)
    yield "ffn_down_exps.weight", (length, WIDTH, count)
    if shared:
        yield "ffn_gate_shexp.weight", (WIDTH, shared)
        yield "ffn_up_shexp.weight", (WIDTH, shared)
        yield "ffn_down_shexp.weight", (shared, WIDTH)


def _mamba(inner: int, state: int, rank: int, conv: int = 4) -> Block:
    yield "attn_norm.weight", (WIDTH,)
    yield "ssm_in.weight", (WIDTH, 2 * inner)
    yield "ssm_conv1d.weight", (conv, inner)
    yield "ssm_conv1d.bias", (inner,)
    yield "ssm_x.weight", (inner, rank + 2 * state)
    yield "ssm_dt.weight", (rank, inner)
    yield "ssm_dt.bias", (inner,)
    yield "ssm_a", (state, inner)
    yield "ssm_d", (inner,)
    yield "ssm_out.weight", (inner, WIDTH)


def _mamba2(
    inner: int, state: int, heads: int, groups: int, *, conv: int = 4, norm: bool = True
) -> Block:
    channels = inner + 2 * groups * state
    if norm:
        yield "attn_norm.weight", (WIDTH,)
    yield "ssm_in.weight", (WIDTH, inner + channels + heads)
    yield "ssm_conv1d.weight", (conv, channels)
    yield "ssm_conv1d.bias", (channels,)
    yield "ssm_dt.bias", (heads,)
    yield "ssm_a", (1, heads)
    yield "ssm_d", (1, heads)
    yield "ssm_norm.weight", (inner // groups, groups)
    yield "ssm_out.weight", (inner, WIDTH)


def _tensors(
    layers: int,
    block: Callable[[int], Block],
    *,
    tied: bool = True,
    norm: str = "output_norm.weight",
) -> dict[str, Shape]:
    tensors: dict[str, Shape] = {"token_embd.weight": (WIDTH, VOCABULARY), norm: (WIDTH,)}
    if not tied:
        tensors["output.weight"] = (WIDTH, VOCABULARY)
    for layer in range(layers):
        tensors |= {f"blk.{layer}.{name}": shape for name, shape in block(layer)}
    return tensors


def _keys(layers: int, heads: int, kv_heads: Value, feed_forward: int = 128) -> dict[str, Value]:
    return {
        "block_count": layers,
        "feed_forward_length": feed_forward,
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "attention.layer_norm_rms_epsilon": 1e-6,
    }


def _ssm_keys(inner: int, state: int, rank: int, groups: int | None = None) -> dict[str, Value]:
    keys: dict[str, Value] = {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
    }
    return keys if groups is None else keys | {"ssm.group_count": groups}


def _dense(
    architecture: str,
    name: str,
    *,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 4,
    tied: bool = True,
    bias: bool = False,
    norms: bool = False,
) -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(heads, kv_heads, WIDTH // heads, bias=bias, norms=norms)
        yield from _feed_forward(128)

    return SmallModel(
        name, architecture, _keys(layers, heads, kv_heads), _tensors(layers, block, tied=tied)
    )


def _gemma2() -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(4, 2, 32)
        yield "post_attention_norm.weight", (WIDTH,)
        yield from _feed_forward(128)
        yield "post_ffw_norm.weight", (WIDTH,)

    keys = _keys(4, 4, 2) | {
        "attention.key_length": 32,
        "attention.value_length": 32,
        "attention.sliding_window": 128,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    return SmallModel("gemma2", "gemma2", keys, _tensors(4, block))


def _gemma3() -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(2, 1, 32, norms=True)
        yield "post_attention_norm.weight", (WIDTH,)
        yield from _feed_forward(128)
        yield "post_ffw_norm.weight", (WIDTH,)

    keys = _keys(7, 2, 1) | {
        "attention.key_length": 32,
        "attention.value_length": 32,
        "attention.sliding_window": 64,
        "rope.freq_base": 1e6,
    }
    return SmallModel("gemma3", "gemma3", keys, _tensors(7, block))


def _phi3() -> SmallModel:
    def block(layer: int) -> Block:
        yield "attn_norm.weight", (WIDTH,)
        yield "attn_qkv.weight", (WIDTH, 3 * WIDTH)
        yield "attn_output.weight", (WIDTH, WIDTH)
        yield "ffn_norm.weight", (WIDTH,)
        yield "ffn_up.weight", (WIDTH, 256)
        yield "ffn_down.weight", (128, WIDTH)

    keys = _keys(3, 4, 4) | {"rope.dimension_count": 16}
    return SmallModel("phi3", "phi3", keys, _tensors(3, block, tied=False))


def _mixture(architecture: str, *, norms: bool = False) -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(4, 2, 16, norms=norms)
        yield from _experts(8, 64)

    keys = _keys(3, 4, 2, feed_forward=64) | {
        "expert_count": 8,
        "expert_used_count": 2,
        "expert_feed_forward_length": 64,
    }
    name = "mixtral" if architecture == "llama" else architecture
    return SmallModel(name, architecture, keys, _tensors(3, block, tied=False))


def _gpt_oss() -> SmallModel:
    heads, kv_heads, head, experts, length = 4, 2, 32, 4, 64

    def block(layer: int) -> Block:
        yield from _attention(heads, kv_heads, head, bias=True)
        yield "attn_output.bias", (WIDTH,)
        yield "attn_sinks.weight", (heads,)
        yield "post_attention_norm.weight", (WIDTH,)
        yield from _experts(experts, length, norm=False)
        yield "ffn_gate_inp.bias", (experts,)
        yield "ffn_gate_exps.bias", (length, experts)
        yield "ffn_up_exps.bias", (length, experts)
        yield "ffn_down_exps.bias", (WIDTH, experts)

    keys = _keys(4, heads, kv_heads, feed_forward=length) | {
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.sliding_window": 128,
        "expert_count": experts,
        "expert_used_count": 2,
        "expert_feed_forward_length": length,
    }
    return SmallModel("gpt-oss", "gpt-oss", keys, _tensors(4, block, tied=False))


def _cohere2() -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(4, 2, 16)
        yield from list(_feed_forward(128))[1:]  # one norm serves both

    keys = _keys(5, 4, 2) | {
        "attention.layer_norm_epsilon": 1e-5,
        "attention.sliding_window": 128,
        "logit_scale": 0.25,
    }
    return SmallModel("cohere2", "cohere2", keys, _tensors(5, block))


def _llama4() -> SmallModel:
    def block(layer: int) -> Block:
        yield from _attention(4, 2, 16)
        yield from _experts(4, 64, shared=64) if layer % 2 else _feed_forward(128)

    keys = _keys(4, 4, 2) | {
        "expert_count": 4,
        "expert_used_count": 1,
        "expert_feed_forward_length": 64,
        "interleave_moe_layer_step": 2,
    }
    return SmallModel("llama4", "llama4", keys, _tensors(4, block, tied=False))


def _rwkv7() -> SmallModel:
    decay, iclr, mix, gate, inner = 16, 16, 16, 32, 128

    def block(layer: int) -> Block:
        for norm in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            yield f"{norm}.weight", (WIDTH,)
            yield f"{norm}.bias", (WIDTH,)
        ranks = {"w": decay, "a": iclr, "v": iclr if layer == 0 else mix}
        for letter, rank in ranks.items():
            yield f"time_mix_{letter}0.weight", (WIDTH,)
            yield f"time_mix_{letter}1.weight", (WIDTH, rank)
            yield f"time_mix_{letter}2.weight", (rank, WIDTH)
        yield "time_mix_g1.weight", (WIDTH, gate)
        yield "time_mix_g2.weight", (gate, WIDTH)
        yield "time_mix_lerp_fused.weight", (WIDTH, 1, 1, 6)
        for vector in ("k_k", "k_a", "r_k"):
            yield f"time_mix_{vector}.weight", (WIDTH,)
        for matrix in ("key", "value", "receptance", "output"):
            yield f"time_mix_{matrix}.weight", (WIDTH, WIDTH)
        yield "channel_mix_lerp_k.weight", (WIDTH, 1, 1)
        yield "channel_mix_key.weight", (WIDTH, inner)
        yield "channel_mix_value.weight", (inner, WIDTH)

    tensors = _tensors(3, block, tied=False) | {
        "output_norm.bias": (WIDTH,),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    keys = _keys(3, 0, 0, feed_forward=inner) | {
        "attention.layer_norm_epsilon": 1e-5,
        "wkv.head_size": 64,
        "attention.decay_lora_rank": decay,
        "attention.iclr_lora_rank": iclr,
        "attention.value_residual_mix_lora_rank": mix,
        "attention.gate_lora_rank": gate,
    }
    return SmallModel("rwkv7", "rwkv7", keys, tensors)


def _deepseek2() -> SmallModel:
    heads, rank, q_rank, rotated, plain, value = 4, 32, 48, 16, 16, 32

    def block(layer: int) -> Block:
        yield "attn_norm.weight", (WIDTH,)
        yield "attn_q_a_norm.weight", (q_rank,)
        yield "attn_q_a.weight", (WIDTH, q_rank)
        yield "attn_q_b.weight", (q_rank, heads * (plain + rotated))
        yield "attn_kv_a_norm.weight", (rank,)
        yield "attn_kv_a_mqa.weight", (WIDTH, rank + rotated)
        yield "attn_k_b.weight", (plain, rank, heads)
        yield "attn_v_b.weight", (rank, value, heads)
        yield "attn_output.weight", (heads * value, WIDTH)
        if layer == 0:
            yield from _feed_forward(128)
        else:
            yield from _experts(4, 32, shared=32)

    keys = _keys(3, heads, 1) | {
        "attention.key_length": rank + rotated,
        "attention.value_length": rank,
        "attention.key_length_mla": plain + rotated,
        "attention.value_length_mla": value,
        "attention.q_lora_rank": q_rank,
        "attention.kv_lora_rank": rank,
        "rope.dimension_count": rotated,
        "leading_dense_block_count": 1,
        "expert_count": 4,
        "expert_used_count": 2,
        "expert_shared_count": 1,
        "expert_feed_forward_length": 32,
        "expert_weights_scale": 1.0,
        "expert_gating_func": 1,
    }
    return SmallModel("deepseek2", "deepseek2", keys, _tensors(3, block, tied=False))


def _mamba_model() -> SmallModel:
    inner, state, rank = 2 * WIDTH, 16, 8
    keys = _keys(3, 0, 0, feed_forward=0) | _ssm_keys(inner, state, rank)
    return SmallModel("mamba", "mamba", keys, _tensors(3, lambda _: _mamba(inner, state, rank)))


def _mamba2_model() -> SmallModel:
    inner, state, heads, groups = 2 * WIDTH, 32, 4, 2
    keys = _keys(3, 0, 0, feed_forward=0) | _ssm_keys(inner, state, heads, groups)
    tensors = _tensors(3, lambda _: _mamba2(inner, state, heads, groups))
    return SmallModel("mamba2", "mamba2", keys, tensors)


def _jamba() -> SmallModel:
    inner, state, rank = 2 * WIDTH, 16, 8

    def block(layer: int) -> Block:
        if layer == 1:
            yield from _attention(4, 2, 16)
        else:
            yield from _mamba(inner, state, rank)
            yield "ssm_dt_norm.weight", (rank,)
            yield "ssm_b_norm.weight", (state,)
            yield "ssm_c_norm.weight", (state,)
        yield from _feed_forward(128)

    keys = _keys(4, 4, [0, 2, 0, 0]) | _ssm_keys(inner, state, rank)
    return SmallModel("jamba", "jamba", keys, _tensors(4, block))


def _granite_hybrid() -> SmallModel:
    inner, state, heads = 2 * WIDTH, 32, 4

    def block(layer: int) -> Block:
        yield from _attention(4, 2, 16) if layer == 1 else _mamba2(inner, state, heads, 1)
        yield from _experts(4, 64, shared=64)

    keys = _keys(3, 4, [0, 2, 0], feed_forward=64) | _ssm_keys(inner, state, heads, 1)
    keys |= {"expert_count": 4, "expert_used_count": 2, "expert_shared_feed_forward_length": 64}
    return SmallModel("granitehybrid", "granitehybrid", keys, _tensors(3, block))


def _falcon_h1() -> SmallModel:
    inner, state, heads, groups = 128, 32, 4, 1

    def block(layer: int) -> Block:
        yield from _attention(4, 2, 16)
        yield from _mamba2(inner, state, heads, groups, norm=False)
        yield from _feed_forward(128, norm="ffn_norm")

    keys = _keys(3, 4, 2) | _ssm_keys(inner, state, heads, groups)
    return SmallModel("falcon-h1", "falcon-h1", keys, _tensors(3, block))


def _lfm2() -> SmallModel:
    def block(layer: int) -> Block:
        if layer == 2:
            yield from _attention(4, 2, 16, norms=True)
        else:
            yield "attn_norm.weight", (WIDTH,)
            yield "shortconv.conv.weight", (3, WIDTH)
            yield "shortconv.in_proj.weight", (WIDTH, 3 * WIDTH)
            yield "shortconv.out_proj.weight", (WIDTH, WIDTH)
        yield from _feed_forward(128)

    keys = _keys(4, 4, [0, 0, 2, 0]) | {"shortconv.l_cache": 3}
    return SmallModel("lfm2", "lfm2", keys, _tensors(4, block, norm="token_embd_norm.weight"))


def _qwen3next() -> SmallModel:
    state, key_heads, value_heads, head, length = 32, 2, 4, 32, 64
    key_size, inner = state * key_heads, state * value_heads

    def block(layer: int) -> Block:
        if layer == 3:
            yield "attn_norm.weight", (WIDTH,)
            yield "attn_q.weight", (WIDTH, 2 * 2 * head)
            yield "attn_k.weight", (WIDTH, head)
            yield "attn_v.weight", (WIDTH, head)
            yield "attn_q_norm.weight", (head,)
            yield "attn_k_norm.weight", (head,)
            yield "attn_output.weight", (2 * head, WIDTH)
        else:
            yield "attn_norm.weight", (WIDTH,)
            yield "attn_qkv.weight", (WIDTH, 2 * key_size + inner)
            yield "attn_gate.weight", (WIDTH, inner)
            yield "ssm_conv1d.weight", (4, 2 * key_size + inner)
            yield "ssm_dt.bias", (value_heads,)
            yield "ssm_a", (value_heads,)
            yield "ssm_ba.weight", (WIDTH, 2 * value_heads)
            yield "ssm_norm.weight", (state,)
            yield "ssm_out.weight", (inner, WIDTH)
        yield "post_attention_norm.weight", (WIDTH,)
        yield from _experts(4, length, norm=False, shared=length)
        yield "ffn_gate_inp_shexp.weight", (WIDTH,)

    keys = _keys(4, 2, 1, feed_forward=length) | _ssm_keys(inner, state, value_heads, key_heads)
    keys |= {
        "attention.key_length": head,
        "attention.value_length": head,
        "rope.dimension_count": 16,
        "expert_count": 4,
        "expert_used_count": 2,
        "expert_feed_forward_length": length,
        "expert_shared_feed_forward_length": length,
    }
    return SmallModel("qwen3next", "qwen3next", keys, _tensors(4, block, tied=False))


def _bert() -> SmallModel:
    def block(layer: int) -> Block:
        for letter in "qkv":
            yield f"attn_{letter}.weight", (WIDTH, WIDTH)
            yield f"attn_{letter}.bias", (WIDTH,)
        yield "attn_output.weight", (WIDTH, WIDTH)
        yield "attn_output.bias", (WIDTH,)
        for norm in ("attn_output_norm", "layer_output_norm"):
            yield f"{norm}.weight", (WIDTH,)
            yield f"{norm}.bias", (WIDTH,)
        yield "ffn_up.weight", (WIDTH, 128)
        yield "ffn_up.bias", (128,)
        yield "ffn_down.weight", (128, WIDTH)
        yield "ffn_down.bias", (WIDTH,)

    tensors = _tensors(2, block, norm="token_embd_norm.weight")
    tensors |= {
        "token_embd_norm.bias": (WIDTH,),
        "token_types.weight": (WIDTH, 2),
        "position_embd.weight": (WIDTH, 512),
    }
    keys = _keys(2, 4, 4) | {
        "context_length": 512,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": 1,
    }
    return SmallModel("bert", "bert", keys, tensors, tokenizer="bert")


SMALL_MODELS: Mapping[str, SmallModel] = {
    model.name: model
    for model in (
        _dense("llama", "llama", tied=False),
        _dense("llama", "llama-gqa-tied", kv_heads=2),
        _dense("qwen2", "qwen2", kv_heads=2, bias=True),
        _dense("qwen3", "qwen3", kv_heads=2, norms=True),
        _dense("mistral3", "mistral3", kv_heads=2, tied=False),
        _gemma2(),
        _gemma3(),
        _cohere2(),
        _llama4(),
        _rwkv7(),
        _phi3(),
        _mixture("llama"),
        _mixture("qwen3moe", norms=True),
        _gpt_oss(),
        _deepseek2(),
        _mamba_model(),
        _mamba2_model(),
        _jamba(),
        _granite_hybrid(),
        _falcon_h1(),
        _lfm2(),
        _qwen3next(),
        _bert(),
    )
}
"""By name; at least dense, grouped, windowed, expert, latent, recurrent, hybrid and embedding."""
