"""Write the trained built-in model as a GGUF file: Q8_0 matrices, F32 norms, its vocabulary."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
from builtin_model.network import Shape
from builtin_model.text import (
    CHAT_TEMPLATE,
    CONTROL_TOKENS,
    END_OF_TURN,
    MARKUP_TOKENS,
    PRE_TOKENIZER,
    Codec,
)
from torch import Tensor, from_numpy

CONTEXT_LENGTH = 32768


def write_gguf(path: Path, weights: dict[str, Tensor], shape: Shape, codec: Codec) -> None:
    """Write the file whole, then put it in place."""
    partial = path.with_suffix(".writing")
    writer = gguf.GGUFWriter(str(partial), "llama")
    add_shape(writer, shape)
    add_vocabulary(writer, codec)
    writer.add_tensor("rope_freqs.weight", shape.frequency_factors().numpy())
    for name, value in weights.items():
        data = value.detach().float().cpu().numpy()
        if data.ndim == 1:
            writer.add_tensor(name, data)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(
            name, gguf.quants.quantize(np.ascontiguousarray(data), kind), raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file that `write_gguf` wrote, as float32."""
    weights: dict[str, Tensor] = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name != "rope_freqs.weight":
            data = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            weights[str(tensor.name)] = from_numpy(np.array(data, dtype=np.float32))
    return weights


def add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """Name, licence and sizes."""
    writer.add_name("localserve tiny")
    writer.add_description("A very small demonstration model, trained on composed text")
    writer.add_license("MIT")
    writer.add_languages(["en"])
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_vocabulary(writer: gguf.GGUFWriter, codec: Codec) -> None:
    """Tokens, their kinds, merges, special tokens and the chat template."""
    numbers = codec.tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(numbers, key=numbers.__getitem__)
    kinds = dict.fromkeys(CONTROL_TOKENS, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(MARKUP_TOKENS, gguf.TokenType.USER_DEFINED)
    merges = codec.description["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(numbers[END_OF_TURN])
    writer.add_eot_token_id(numbers[END_OF_TURN])
    writer.add_bos_token_id(numbers["<|endoftext|>"])
    writer.add_pad_token_id(numbers["<|endoftext|>"])
    writer.add_add_bos_token(False)
    for name in ("prefix", "suffix", "middle"):
        number = numbers[f"<|fim_{name}|>"]
        writer.add_uint32(f"tokenizer.ggml.fim_{name[:3]}_token_id", number)
    writer.add_chat_template(CHAT_TEMPLATE)
