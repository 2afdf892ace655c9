"""Headers of models in the shapes that people run, with a hole in place of the weights.

Sizes are those of the published models; each quantization stores a tensor as llama.cpp's quantizer
would, but for rare exceptions. Weights cannot be computed with: there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType

from benchmarks.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, build_vocabulary

Type = GGMLQuantizationType


@dataclass(frozen=True)
class RealShape:
    """A transformer. `window` is one layer in `period` with full attention, the others windowed."""

    name: str
    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_length: int
    feed_forward: int
    vocabulary: int
    context: int
    tied: bool = False
    norms: bool = False
    experts: int = 0
    experts_used: int = 0
    expert_feed_forward: int = 0
    window: int = 0


SHAPES = {
    shape.name: shape
    for shape in (
        RealShape(
            "qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151_936, 40_960, True, norms=True
        ),
        RealShape("qwen3-8b", "qwen3", 36, 4096, 32, 8, 128, 12_288, 151_936, 40_960, norms=True),
        RealShape("llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14_336, 128_256, 131_072),
        RealShape(
            "gemma-3-12b",
            "gemma3",
            layers=48,
            width=3840,
            heads=16,
            kv_heads=8,
            head_length=256,
            feed_forward=15_360,
            vocabulary=262_208,
            context=131_072,
            tied=True,
            norms=True,
            window=1024,
        ),
        RealShape(
            "qwen3-30b-a3b",
            "qwen3moe",
            layers=48,
            width=2048,
            heads=32,
            kv_heads=4,
            head_length=128,
            feed_forward=6144,
            vocabulary=151_936,
            context=40_960,
            norms=True,
            experts=128,
            experts_used=8,
            expert_feed_forward=768,
        ),
    )
}

QUANTIZATIONS = {
    "Q2_K": (Type.Q2_K, Type.Q3_K, LlamaFileType.MOSTLY_Q2_K),
    "Q4_K_M": (Type.Q4_K, Type.Q6_K, LlamaFileType.MOSTLY_Q4_K_M),
    "Q5_K_M": (Type.Q5_K, Type.Q6_K, LlamaFileType.MOSTLY_Q5_K_M),
    "Q6_K": (Type.Q6_K, Type.Q6_K, LlamaFileType.MOSTLY_Q6_K),
    "Q8_0": (Type.Q8_0, Type.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "F16": (Type.F16, Type.F16, LlamaFileType.MOSTLY_F16),
}
"""The type of most matrices, of the ones that matter more (output, half of value and down)."""


def write_header(path: Path, shape: RealShape, quantization: str, *, words: bool = True) -> Path:
    """Write a file of the apparent size of the whole model.

    Without `words` it has no vocabulary: quicker, and enough for all but llama.cpp.
    """
    usual, better, file_type = QUANTIZATIONS[quantization]
    writer = GGUFWriter(path, shape.architecture)
    _add_keys(writer, shape, file_type)
    if words:
        _add_tokenizer(writer, shape.vocabulary)
    end = 0
    for name, dimensions in _tensors(shape).items():
        if len(dimensions) == 1 or "ffn_gate_inp" in name:
            kind = Type.F32
        else:
            kind = better if _matters(name, shape.layers) else usual
        block, block_bytes = GGML_QUANT_SIZES[kind]
        elements = 1
        for length in dimensions:
            elements *= length
        size = elements // block * block_bytes
        as_bytes = (*dimensions[:0:-1], dimensions[0] // block * block_bytes)
        writer.add_tensor_info(name, as_bytes, np.dtype(np.uint8), size, raw_dtype=kind)
        end += -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header_bytes = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(-(-header_bytes // 32) * 32 + end)
    return path


def _matters(name: str, layers: int) -> bool:
    if name == "output.weight" or name == "token_embd.weight":
        return True
    if not name.endswith(("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")):
        return False
    layer = int(name.split(".")[1])
    return layer < layers // 8 or layer >= 7 * layers // 8 or layer % 3 == 2


def _add_keys(writer: GGUFWriter, shape: RealShape, file_type: LlamaFileType) -> None:
    writer.add_name(shape.name)
    writer.add_file_type(file_type)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_length)
    writer.add_value_length(shape.head_length)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    if shape.window:
        writer.add_sliding_window(shape.window)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.experts_used)
        writer.add_expert_feed_forward_length(shape.expert_feed_forward)


def _add_tokenizer(writer: GGUFWriter, size: int) -> None:
    vocabulary = build_vocabulary(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([1] * vocabulary.ordinary + [3] * len(SPECIAL_TOKENS))
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.id_of("<|im_end|>"))
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(shape: RealShape) -> dict[str, tuple[int, ...]]:
    """Names and dimensions, innermost first."""
    wide, keys = shape.width, shape.kv_heads * shape.head_length
    tensors: dict[str, tuple[int, ...]] = {"token_embd.weight": (wide, shape.vocabulary)}
    for layer in range(shape.layers):
        block = {
            "attn_norm.weight": (wide,),
            "attn_q.weight": (wide, shape.heads * shape.head_length),
            "attn_k.weight": (wide, keys),
            "attn_v.weight": (wide, keys),
            "attn_output.weight": (shape.heads * shape.head_length, wide),
            "ffn_norm.weight": (wide,),
        }
        if shape.norms:
            block |= {
                "attn_q_norm.weight": (shape.head_length,),
                "attn_k_norm.weight": (shape.head_length,),
            }
        if shape.window:
            block |= {"post_attention_norm.weight": (wide,), "post_ffw_norm.weight": (wide,)}
        if shape.experts:
            inner = shape.expert_feed_forward
            block |= {
                "ffn_gate_inp.weight": (wide, shape.experts),
                "ffn_gate_exps.weight": (wide, inner, shape.experts),
                "ffn_up_exps.weight": (wide, inner, shape.experts),
                "ffn_down_exps.weight": (inner, wide, shape.experts),
            }
        else:
            block |= {
                "ffn_gate.weight": (wide, shape.feed_forward),
                "ffn_up.weight": (wide, shape.feed_forward),
                "ffn_down.weight": (shape.feed_forward, wide),
            }
        tensors |= {f"blk.{layer}.{name}": dimensions for name, dimensions in block.items()}
    tensors["output_norm.weight"] = (wide,)
    if not shape.tied:
        tensors["output.weight"] = (wide, shape.vocabulary)
    return tensors
