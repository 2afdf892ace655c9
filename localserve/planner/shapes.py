"""A catalog entry's shape and bytes -> facts that plans can be made of, before anything is fetched.

A rough model of the file: as many bytes, in tensors that lie where the real ones would. What the
catalog does not say is taken as it usually is; where another quantization is at hand, as it is
there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from localserve.catalog.filenames import BITS_PER_WEIGHT
from localserve.catalog.spec import ModelSpec, Shape
from localserve.gguf.facts import GgufFacts
from localserve.gguf.header import Tensor
from localserve.gguf.hyperparameters import Attention, Experts, Hyperparameters, Rope
from localserve.gguf.metadata import Metadata
from localserve.gguf.tokenizer import Tokenizer
from localserve.gguf.types import TENSOR_TYPES, TensorType

EXPERTS = Experts(
    count=16,
    used=1,
    shared=0,
    groups=0,
    groups_used=0,
    feed_forward_length=None,
)
"""How a mixture is taken to be made up, of which only all and the active parameters are known."""

FEED_FORWARD = 4
"""How many times wider than the model its feed-forward layers are taken to be."""

TIED_SHARE = 0.35
"""Where input and output would be more of a model than this, they are taken to be the same."""


def facts_of(spec: ModelSpec, shape: Shape, quantization: str) -> GgufFacts:
    """The facts of one of the entry's quantizations, whose bytes it lists."""
    size_bytes = spec.quantizations[quantization]
    kind = _type(quantization)
    ends = shape.vocabulary * shape.embedding_length
    tied = 2 * ends > TIED_SHARE * shape.parameters
    per_weight = size_bytes / shape.parameters
    tensors = tuple(
        Tensor(name, (columns, rows), kind, 0, columns * rows, round(columns * rows * per_weight))
        for name, columns, rows in _parts(shape, ends, tied)
    )
    return GgufFacts(
        file=spec.name,
        architecture="",
        name=spec.name,
        kind="model",
        parameters=shape.parameters,
        weights_bytes=size_bytes,
        size_bytes=size_bytes,
        bytes_by_type={kind.name: size_bytes},
        file_type=quantization,
        tensors=tensors,
        hyperparameters=_hyperparameters(shape),
        tokenizer=Tokenizer("gpt2", None, shape.vocabulary, None, None, None, None),
        metadata=Metadata(spec.name, {}, b""),
        _by_name={tensor.name: tensor for tensor in tensors},
    )


def resized(facts: GgufFacts, quantization: str, size_bytes: int) -> GgufFacts:
    """The facts of a model's other quantization, of which only the bytes are known."""
    kind = _type(quantization)
    scale = size_bytes / max(1, facts.size_bytes)
    tensors = tuple(
        replace(tensor, type=kind, size_bytes=round(tensor.size_bytes * scale))
        if len(tensor.shape) > 1
        else tensor
        for tensor in facts.tensors
    )
    weights_bytes = sum(tensor.size_bytes for tensor in tensors)
    return replace(
        facts,
        weights_bytes=weights_bytes,
        size_bytes=size_bytes,
        bytes_by_type={kind.name: weights_bytes},
        file_type=quantization,
        tensors=tensors,
        _by_name={tensor.name: tensor for tensor in tensors},
    )


def _parts(shape: Shape, ends: int, tied: bool) -> Iterator[tuple[str, int, int]]:
    """Names, columns and rows."""
    yield "token_embd.weight", shape.embedding_length, shape.vocabulary
    if not tied:
        yield "output.weight", shape.embedding_length, shape.vocabulary
    share = EXPERTS.used / EXPERTS.count
    experts = int((shape.parameters - shape.active_parameters) / (1 - share))
    dense = max(0, shape.parameters - experts - (ends if tied else 2 * ends))
    for layer in range(shape.layers):
        yield f"blk.{layer}.weight", dense // shape.layers, 1
        if experts:
            yield f"blk.{layer}.ffn_up_exps.weight", experts // shape.layers, 1


def _type(quantization: str) -> TensorType:
    """The type that most weights of a quantization have; else one with as many bits."""
    by_length = sorted(TENSOR_TYPES.values(), key=lambda kind: -len(kind.name))
    for kind in by_length:
        if quantization.upper().startswith(kind.name):
            return kind
    bits = BITS_PER_WEIGHT.get(quantization.upper(), 4.85)
    return min(TENSOR_TYPES.values(), key=lambda kind: abs(kind.bits_per_weight - bits))


def _hyperparameters(shape: Shape) -> Hyperparameters:
    layers = shape.layers
    mixed = shape.active_parameters < shape.parameters
    return Hyperparameters(
        context_length=shape.trained_context_tokens,
        embedding_length=shape.embedding_length,
        layers=layers,
        next_token_layers=0,
        feed_forward_lengths=(FEED_FORWARD * shape.embedding_length,) * layers,
        vocabulary=shape.vocabulary,
        attention=Attention(
            heads_per_layer=(shape.heads,) * layers,
            kv_heads_per_layer=(shape.kv_heads,) * layers,
            key_length=shape.head_size,
            value_length=shape.head_size,
            key_length_windowed=shape.head_size,
            value_length_windowed=shape.head_size,
            sliding_window=None,
            windowed=(False,) * layers,
            causal=True,
            kv_lora_rank=None,
            key_length_mla=None,
            value_length_mla=None,
            shared_kv_layers=0,
        ),
        experts=EXPERTS if mixed else None,
        recurrence=None,
        rope=Rope(None, "none", None),
        pooling_type=None,
    )
