"""How fast one device does what a model is made of, measured through ggml itself.

`python -m localserve.llama.bandwidth DEVICE THREADS BYTES` prints
`{"device", "threads", "stream_bytes", "types": {TYPE: {"decode_bytes_per_second",
"prompt_flops_per_second"}}, "steps": {...}}`; `steps` has the fields of the planner's `StepRates`,
null where the device cannot do that.

Decoding is a product of all weights with one column, so its rate is that of reading memory (or of
unpacking the type, where that is slower). A prompt is a product with many columns at once, whose
rate is arithmetic. What lies between the products counts in small models: starting each operation,
attention, and whatever is done element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

from localserve.llama import child
from localserve.llama.devices import devices, handles
from localserve.llama.graphs import (
    F16,
    F32,
    Graphs,
    attend,
    heads,
    matrix,
    multiply,
    row_bytes,
    scale_each,
)
from localserve.planner.bandwidth import QUERIES_PER_KEY

TYPES = {
    "F32": F32,
    "F16": F16,
    "Q8_0": 8,
    "Q6_K": 14,
    "Q5_K": 13,
    "Q4_K": 12,
    "Q4_0": 2,
    "IQ4_XS": 23,
    "Q3_K": 11,
}
"""What is measured, with ggml's numbers. F32 for reading alone: nothing is to be unpacked."""

WIDTH = 4096
"""Inner length of all products: the embedding length of a model of 8 B parameters."""

STREAM_ROWS = 8192
"""Rows of each tensor that is read; as many tensors as make up the bytes asked for."""

PROMPT_ROWS, MORE_PROMPT_ROWS, COLUMNS = 1024, 4096, 512
"""The product that is timed for prompts: one tensor times llama.cpp's usual micro-batch. The larger
one is for devices that are so fast that the smaller one does not occupy them."""

SHORT_SECONDS = 0.005
"""A run shorter than this is mostly its own start; it is measured again with REPEATS of it."""

REPEATS = 32

SMALL = 1024
OPERATIONS = 256
"""So many operations on vectors of SMALL numbers are mostly their own starts."""

HEAD_LENGTH, HEADS = 128, 32
"""Attention as most models have it."""

CELLS = 1024
CACHES = 16
"""Each layer's keys and values have left the processor's cache when they are read again."""


def measure(index: int, threads: int, stream_bytes: int) -> dict[str, object]:
    """The rates of one device; a type that the device cannot multiply is left out.

    `index` counts llama.cpp's devices, `threads` are those of the CPU, and `stream_bytes` is how
    much memory may be taken for weights.
    """
    with Graphs(handles()[index], threads) as graphs:
        types = {}
        for name, number in TYPES.items():
            if (rate := _decode_rate(graphs, number, stream_bytes)) is None:
                continue
            types[name] = {"decode_bytes_per_second": rate}
            if number != F32 and (flops := _prompt_rate(graphs, number)) is not None:
                types[name]["prompt_flops_per_second"] = flops
        return {"types": types, "steps": _steps(graphs)}


def _decode_rate(graphs: Graphs, kind: int, stream_bytes: int) -> float | None:
    """Bytes of weights per second in products with one column."""
    one_bytes = row_bytes(kind, WIDTH) * STREAM_ROWS
    count = max(1, stream_bytes // one_bytes)

    def build(weights: int, others: int) -> list[int]:
        column = matrix(others, F32, WIDTH, 1)
        return [
            multiply(others, matrix(weights, kind, WIDTH, STREAM_ROWS), column)
            for _ in range(count)
        ]

    seconds = graphs.seconds(build, count + 1)
    return None if seconds is None else count * one_bytes / seconds


def _prompt_rate(graphs: Graphs, kind: int) -> float | None:
    """Floating-point operations per second in products with COLUMNS columns."""

    def timed(rows: int, count: int) -> tuple[float, float | None]:
        def build(weights: int, others: int) -> list[int]:
            columns = matrix(others, F32, WIDTH, COLUMNS)
            one = matrix(weights, kind, WIDTH, rows)
            return [multiply(others, one, columns) for _ in range(count)]

        return 2.0 * WIDTH * rows * COLUMNS * count, graphs.seconds(build, count + 1)

    operations, seconds = timed(PROMPT_ROWS, 1)
    if seconds is not None and seconds < SHORT_SECONDS:
        operations, seconds = timed(MORE_PROMPT_ROWS, REPEATS)
    return None if seconds is None else operations / seconds


def _steps(graphs: Graphs) -> dict[str, float | None]:
    """What a step takes besides products with weights."""
    shared = HEADS // QUERIES_PER_KEY
    start = _elementwise_seconds(graphs, SMALL, 1, OPERATIONS)
    elementwise = _elementwise_seconds(graphs, WIDTH, COLUMNS, REPEATS)
    return {
        "operation_seconds": start,
        "element_bytes_per_second": elementwise and 3 * 4 * WIDTH * COLUMNS / elementwise,
        "decode_attention_flops_per_second": _attention_rate(graphs, 1, shared),
        "unshared_attention_flops_per_second": _attention_rate(graphs, 1, HEADS),
        "prompt_attention_flops_per_second": _attention_rate(graphs, COLUMNS, shared),
    }


def _elementwise_seconds(graphs: Graphs, width: int, rows: int, count: int) -> float | None:
    """Seconds of one operation of a chain: each reads two matrices and writes one."""

    def build(weights: int, others: int) -> list[int]:
        one = other = matrix(others, F32, width, rows)
        for _ in range(count):
            one = scale_each(others, one, other)
        return [one]

    seconds = graphs.seconds(build, count + 1)
    return None if seconds is None else seconds / count


def _attention_rate(graphs: Graphs, tokens: int, kv_heads: int) -> float | None:
    """Floating-point operations per second in `tokens` queries, which look at a cache."""
    cells, count = (CELLS, CACHES) if tokens == 1 else (tokens, 1)

    def build(weights: int, others: int) -> list[int]:
        queries = heads(others, F32, HEAD_LENGTH, HEADS, tokens)
        mask = matrix(others, F16, cells, tokens)
        return [
            attend(
                others,
                queries,
                heads(others, F16, HEAD_LENGTH, kv_heads, cells),
                heads(others, F16, HEAD_LENGTH, kv_heads, cells),
                mask,
            )
            for _ in range(count)
        ]

    seconds = graphs.seconds(build, 5 * count + 3)
    operations = 2.0 * HEADS * 2 * HEAD_LENGTH * tokens * cells * count
    return None if seconds is None else operations / seconds


def _document(arguments: Sequence[str]) -> object:
    name, threads, stream_bytes = arguments[0], int(arguments[1]), int(arguments[2])
    names = [one.name for one in devices()]
    if name not in names:
        raise ValueError(f"llama.cpp has no device {name}; it has {', '.join(names)}")
    return {
        "device": name,
        "threads": threads,
        "stream_bytes": stream_bytes,
        **measure(names.index(name), threads, stream_bytes),
    }


if __name__ == "__main__":
    child.run(_document)
