"""Writes a GGUF of a real shape with random weights: speed does not depend on what weights say.

Run as `python -m benchmarks.make_model`. F16 by the gguf package, tensor by tensor, then quantized
by llama.cpp itself. The end-of-answer tokens and the bytes that are no text have zero rows in the
(tied) embedding, so a greedy answer goes on for ever and is valid UTF-8. Knows nothing of servers.
"""

from __future__ import annotations

import ctypes
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from gguf import GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from benchmarks.shapes import SHAPES, Shape, ShapeName, Tensor, tensors_of
from benchmarks.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, Vocabulary, build_vocabulary
from localserve.config import read_settings


class WeightType(StrEnum):
    """How weights are stored."""

    Q4_K_M = "Q4_K_M"
    Q6_K = "Q6_K"
    Q8_0 = "Q8_0"
    F16 = "F16"


_ROWS_AT_A_TIME = 8_192


def default_path(shape: Shape, weight_type: WeightType, seed: int = 0) -> Path:
    """Where the model is kept between runs: localserve's cache folder, never the repository."""
    folder = read_settings().cache_dir / "benchmarks"
    return folder / f"random-{shape.name}-{weight_type}-seed{seed}.gguf"


def make_model(
    path: Path,
    shape: Shape,
    weight_type: WeightType,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write the model to `path`, replacing what is there; a half-written file never has that name.

    Quantizing writes the F16 file beside it first and deletes it afterwards.

    Raises: RuntimeError when llama.cpp cannot quantize.
    """
    progress = progress or Progress(disable=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name(f".{path.stem}.F16.part")
    quantized = path.with_name(f".{path.stem}.part")
    try:
        _write_f16(plain, shape, seed, progress)
        if weight_type is WeightType.F16:
            os.replace(plain, path)
        else:
            _quantize(plain, quantized, weight_type, progress)
            os.replace(quantized, path)
    finally:
        plain.unlink(missing_ok=True)
        quantized.unlink(missing_ok=True)


def _write_f16(path: Path, shape: Shape, seed: int, progress: Progress) -> None:
    """Write header and tensors one after the other; the largest tensor is what memory it takes."""
    vocabulary = build_vocabulary(shape.vocabulary)
    tensors = list(tensors_of(shape))
    total_bytes = sum(int(np.prod(each.shape)) * (2 if each.is_matrix else 4) for each in tensors)
    task = progress.add_task("random F16 weights", total=total_bytes)
    writer = GGUFWriter(path, "qwen3")
    try:
        _add_metadata(writer, shape, seed)
        _add_tokenizer(writer, vocabulary)
        for tensor in tensors:
            dtype = np.dtype(np.float16 if tensor.is_matrix else np.float32)
            size_bytes = int(np.prod(tensor.shape)) * dtype.itemsize
            writer.add_tensor_info(tensor.name, tensor.shape, dtype, size_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for index, tensor in enumerate(tensors):
            weights = _weights(tensor, np.random.default_rng([seed, index]))
            if index == 0:
                _silence(weights, vocabulary)
            writer.write_tensor_data(weights)
            progress.advance(task, weights.nbytes)
    finally:
        writer.close()


def _weights(
    tensor: Tensor, random: np.random.Generator
) -> NDArray[np.float16] | NDArray[np.float32]:
    if not tensor.is_matrix:
        return np.full(tensor.shape, tensor.scale, dtype=np.float32)
    rows, columns = tensor.shape
    weights = np.empty((rows, columns), dtype=np.float16)
    for start in range(0, rows, _ROWS_AT_A_TIME):
        block = weights[start : start + _ROWS_AT_A_TIME]
        block[:] = random.standard_normal(block.shape, dtype=np.float32) * tensor.scale
    return weights


def _silence(embedding: NDArray[np.float16] | NDArray[np.float32], vocabulary: Vocabulary) -> None:
    """Zero the rows of what may not be said: its logit is 0, which thousands of others exceed."""
    silent = np.ones(len(vocabulary.tokens), dtype=bool)
    silent[list(vocabulary.speakable)] = False
    embedding[silent] = 0


def _add_metadata(writer: GGUFWriter, shape: Shape, seed: int) -> None:
    writer.add_name(f"random {shape.name}")
    writer.add_description(f"Random weights from seed {seed}, for measuring speed.")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)


def _add_tokenizer(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    kinds = [TokenType.NORMAL] * vocabulary.ordinary + [TokenType.CONTROL] * len(SPECIAL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.id_of("<|endoftext|>"))
    writer.add_eos_token_id(vocabulary.id_of("<|im_end|>"))
    writer.add_pad_token_id(vocabulary.id_of("<|endoftext|>"))
    writer.add_add_bos_token(False)
    for key, token in {
        "fim_pre": "<|fim_prefix|>",
        "fim_mid": "<|fim_middle|>",
        "fim_suf": "<|fim_suffix|>",
        "fim_pad": "<|fim_pad|>",
        "fim_rep": "<|repo_name|>",
        "fim_sep": "<|file_sep|>",
    }.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", vocabulary.id_of(token))
    writer.add_chat_template(CHAT_TEMPLATE)


def _quantize(source: Path, target: Path, weight_type: WeightType, progress: Progress) -> None:
    # Imported only here, because the module replaces the log callback of the whole process.
    from llama_cpp import llama_cpp

    task = progress.add_task(f"quantizing to {weight_type}", total=None)
    lines: list[str] = []

    def on_log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
        line = text.decode(errors="replace")
        lines.append(line)
        if counted := _TENSOR_LINE.match(line):
            done, total = int(counted[1]), int(counted[2])
            progress.update(task, completed=done, total=total)

    callback = llama_cpp.llama_log_callback(on_log)
    _kept_callbacks.append(callback)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{weight_type}")
    parameters.nthread = os.cpu_count() or 1
    status = llama_cpp.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)
    )
    if status != 0:
        tail = "".join(lines[-5:]).strip()
        raise RuntimeError(f"llama.cpp could not quantize {source} (status {status}): {tail}")


_TENSOR_LINE = re.compile(r"\[ *(\d+)/ *(\d+)\]")
# llama.cpp goes on calling its callback for as long as the process lives: one that Python had
# collected would end the process.
_kept_callbacks: list[object] = []


def main(
    path: Annotated[Path | None, typer.Argument(help="Default: the cache folder.")] = None,
    shape: Annotated[ShapeName, typer.Option(help="The sizes of the model.")] = (
        ShapeName.QWEN3_0_6B
    ),
    weight_type: Annotated[WeightType, typer.Option("--type")] = WeightType.Q4_K_M,
    seed: Annotated[int, typer.Option(min=0, help="Of the random weights.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write it again if it is there.")] = False,
) -> None:
    """Write a GGUF of a real shape with random weights, or say where it already is."""
    console = Console(stderr=True)
    chosen = SHAPES[shape]
    target = path or default_path(chosen, weight_type, seed)
    if target.exists() and not force:
        console.print(f"there already: {target.stat().st_size / 1e6:,.1f} MB")
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            make_model(target, chosen, weight_type, seed, progress)
        console.print(f"written: {target.stat().st_size / 1e6:,.1f} MB")
    print(target)


if __name__ == "__main__":
    typer.run(main)
