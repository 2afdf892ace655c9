"""The sizes of the random models and the tensors that follow from them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gguf import MODEL_TENSOR, TENSOR_NAMES


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Qwen3 model with tied embeddings; widths are multiples of 256 for K-quants."""

    name: str
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int = 40_960
    rope_base: float = 1e6
    norm_epsilon: float = 1e-6


class ShapeName(StrEnum):
    """The shapes that can be made."""

    QWEN3_0_6B = "qwen3-0.6b"
    QWEN3_1_7B = "qwen3-1.7b"
    QWEN3_8B = "qwen3-8b"
    TINY = "tiny"


SHAPES = {
    ShapeName.QWEN3_0_6B: Shape("qwen3-0.6b", 28, 1024, 3072, 16, 8, 128, vocabulary=151_936),
    ShapeName.QWEN3_1_7B: Shape("qwen3-1.7b", 28, 2048, 6144, 16, 8, 128, vocabulary=151_936),
    ShapeName.QWEN3_8B: Shape("qwen3-8b", 36, 4096, 12288, 32, 8, 128, vocabulary=151_936),
    ShapeName.TINY: Shape("tiny", 2, 256, 512, 4, 2, 64, vocabulary=2_048),
}
# Small embeddings leave the say to the layers, so an answer depends on its whole context; the last
# norm spreads the logits, so greedy choices are rarely near ties.
_EMBEDDING_DEVIATION = 0.02
_LAST_NORM = 5.0
_QUERY_NORM = 2.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """`shape` is rows by columns; one-dimensional tensors are filled with `scale`."""

    name: str
    shape: tuple[int, ...]
    scale: float

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) == 2


def tensors_of(shape: Shape) -> Iterator[Tensor]:
    """All tensors in the order of the file, the embedding first."""
    width, hidden = shape.width, shape.feed_forward
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size

    def matrix(kind: MODEL_TENSOR, rows: int, columns: int, layer: int = 0) -> Tensor:
        return Tensor(_name(kind, layer), (rows, columns), columns**-0.5)

    def norm(kind: MODEL_TENSOR, size: int, layer: int = 0, scale: float = 1.0) -> Tensor:
        return Tensor(_name(kind, layer), (size,), scale)

    embedding = _name(MODEL_TENSOR.TOKEN_EMBD, 0)
    yield Tensor(embedding, (shape.vocabulary, width), _EMBEDDING_DEVIATION)
    for layer in range(shape.layers):
        yield norm(MODEL_TENSOR.ATTN_NORM, width, layer)
        yield matrix(MODEL_TENSOR.ATTN_Q, queries, width, layer)
        yield matrix(MODEL_TENSOR.ATTN_K, keys, width, layer)
        yield matrix(MODEL_TENSOR.ATTN_V, keys, width, layer)
        yield matrix(MODEL_TENSOR.ATTN_OUT, width, queries, layer)
        yield norm(MODEL_TENSOR.ATTN_Q_NORM, shape.head_size, layer, _QUERY_NORM)
        yield norm(MODEL_TENSOR.ATTN_K_NORM, shape.head_size, layer)
        yield norm(MODEL_TENSOR.FFN_NORM, width, layer)
        yield matrix(MODEL_TENSOR.FFN_GATE, hidden, width, layer)
        yield matrix(MODEL_TENSOR.FFN_UP, hidden, width, layer)
        yield matrix(MODEL_TENSOR.FFN_DOWN, width, hidden, layer)
    yield norm(MODEL_TENSOR.OUTPUT_NORM, width, scale=_LAST_NORM)


def _name(kind: MODEL_TENSOR, layer: int) -> str:
    return TENSOR_NAMES[kind].format(bid=layer) + ".weight"
