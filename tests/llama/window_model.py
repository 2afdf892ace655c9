"""Writes a random Gemma 3 with a small sliding window. Knows nothing of llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

from benchmarks.vocabulary import SPECIAL_TOKENS, build_vocabulary

LAYERS, WIDTH, FEED_FORWARD, HEADS, HEAD_SIZE, VOCABULARY = 6, 64, 128, 2, 32, 512
WINDOW = 32


def write_window_model(path: Path) -> Path:
    vocabulary = build_vocabulary(VOCABULARY)
    random = np.random.default_rng(7)
    writer = GGUFWriter(path, "gemma3")
    writer.add_context_length(4_096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(WINDOW)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(
        [TokenType.NORMAL] * vocabulary.ordinary + [TokenType.CONTROL] * len(SPECIAL_TOKENS)
    )
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.id_of("<|im_start|>"))
    writer.add_eos_token_id(vocabulary.id_of("<|im_end|>"))
    writer.add_add_bos_token(True)

    def add(name: str, *shape: int, scale: float = 0.0) -> None:
        if scale:
            values = np.full(shape, scale, dtype=np.float32)
        else:
            values = random.standard_normal(shape, dtype=np.float32) * shape[-1] ** -0.5
        writer.add_tensor(name, values)

    add("token_embd.weight", VOCABULARY, WIDTH)
    add("output_norm.weight", WIDTH, scale=2.0)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        add(block + "attn_norm.weight", WIDTH, scale=1.0)
        add(block + "attn_q.weight", HEADS * HEAD_SIZE, WIDTH)
        add(block + "attn_k.weight", HEAD_SIZE, WIDTH)
        add(block + "attn_v.weight", HEAD_SIZE, WIDTH)
        add(block + "attn_output.weight", WIDTH, HEADS * HEAD_SIZE)
        add(block + "attn_q_norm.weight", HEAD_SIZE, scale=2.0)
        add(block + "attn_k_norm.weight", HEAD_SIZE, scale=1.0)
        add(block + "post_attention_norm.weight", WIDTH, scale=4.0)
        add(block + "ffn_norm.weight", WIDTH, scale=1.0)
        add(block + "ffn_gate.weight", FEED_FORWARD, WIDTH)
        add(block + "ffn_up.weight", FEED_FORWARD, WIDTH)
        add(block + "ffn_down.weight", WIDTH, FEED_FORWARD)
        add(block + "post_ffw_norm.weight", WIDTH, scale=2.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
