"""How fast one device reads weights and multiplies with them, measured through ggml itself.

`python -m localserve.llama.bandwidth DEVICE THREADS BYTES` prints
`{"device", "threads", "stream_bytes", "types": {TYPE: {"decode_bytes_per_second",
"prompt_flops_per_second"}}}`.

Decoding is a product of all weights with one column, so its rate is that of reading memory (or of
unpacking the type, where that is slower). A prompt is a product with many columns at once, whose
rate is arithmetic. Both run on tensors of a model's size in the buffer type that llama.cpp would
choose for them. The best of some runs counts: other programs can only make them slower.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from localserve.llama import child
from localserve.llama.devices import devices, handles, proc_address, registry_of
from localserve.llama.library import ggml

F32 = 0
TYPES = {"F32": F32, "F16": 1, "Q8_0": 8, "Q6_K": 14, "Q4_K": 12}
"""What is measured, with ggml's numbers. F32 for reading alone: nothing is to be unpacked."""

PROMPT_TYPES = ("F16", "Q8_0", "Q6_K", "Q4_K")

WIDTH = 4096
"""Inner length of all products: the embedding length of a model of 8 B parameters."""

STREAM_ROWS = 8192
"""Rows of each tensor that is read; as many tensors as make up the bytes asked for."""

PROMPT_ROWS, PROMPT_COLUMNS = 4096, 512
"""The product that is timed for prompts: one tensor times llama.cpp's usual micro-batch."""

RUN_SECONDS = 0.3
"""How long runs are repeated."""

SHORT_SECONDS = 0.005
"""A run shorter than this is mostly its own start; it is measured again with REPEATS of it."""

REPEATS = 32

FILL = 0x2C
"""Every byte of all tensors: ordinary numbers in each type, whereas zeros might be special."""

Pointer = ctypes.c_void_p


@dataclass(frozen=True, slots=True)
class Product:
    """`count` matrices of `rows` x WIDTH in one type, each multiplied by `columns` columns."""

    type: int
    rows: int
    columns: int
    count: int
    distinct: bool
    """Whether each product has a matrix of its own, so that none is still in a cache."""

    @property
    def bytes(self) -> int:
        """What one run reads of weights."""
        row_bytes = ggml("ggml_row_size", ctypes.c_size_t, [ctypes.c_int, ctypes.c_int64])
        return int(row_bytes(self.type, WIDTH)) * self.rows * self.count

    @property
    def operations(self) -> int:
        """Multiplications and additions of one run."""
        return 2 * WIDTH * self.rows * self.columns * self.count


def measure(index: int, threads: int, stream_bytes: int) -> dict[str, dict[str, float]]:
    """The rates of one device by type; a type that the device cannot multiply is left out.

    `index` counts llama.cpp's devices, `threads` are those of the CPU, and `stream_bytes` is how
    much memory may be taken for weights.
    """
    device = handles()[index]
    with _backend(device, threads) as backend:
        rates = {}
        for name, number in TYPES.items():
            one = Product(number, STREAM_ROWS, 1, 1, distinct=True)
            count = max(1, stream_bytes // one.bytes)
            stream = Product(number, STREAM_ROWS, 1, count, distinct=True)
            seconds = _seconds(device, backend, stream)
            if seconds is None:
                continue
            rates[name] = {"decode_bytes_per_second": stream.bytes / seconds}
            if name in PROMPT_TYPES and (rate := _prompt_rate(device, backend, number)):
                rates[name]["prompt_flops_per_second"] = rate
        return rates


def _prompt_rate(device: int, backend: int, number: int) -> float | None:
    """Floating-point operations per second of a large product."""
    product = Product(number, PROMPT_ROWS, PROMPT_COLUMNS, 1, distinct=False)
    seconds = _seconds(device, backend, product)
    if seconds is not None and seconds < SHORT_SECONDS:
        product = Product(number, PROMPT_ROWS, PROMPT_COLUMNS, REPEATS, distinct=False)
        seconds = _seconds(device, backend, product)
    return None if seconds is None else product.operations / seconds


def _seconds(device: int, backend: int, product: Product) -> float | None:
    """The shortest time of one run; None where the device does not support it."""
    with _graph(device, product) as graph:
        if graph is None:
            return None
        compute = ggml("ggml_backend_graph_compute", ctypes.c_int, [Pointer, Pointer])

        def run() -> None:
            status = compute(backend, graph)
            if status != 0:
                raise RuntimeError(f"ggml could not compute (status {status})")

        return _shortest(run)


def _shortest(run: Callable[[], None]) -> float:
    """Runs once to warm up, then for RUN_SECONDS or at least once."""
    run()
    end = time.perf_counter() + RUN_SECONDS
    best = math.inf
    while True:
        began = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - began)
        if now >= end:
            return best


@contextmanager
def _backend(device: int, threads: int) -> Iterator[int]:
    init = ggml("ggml_backend_dev_init", Pointer, [Pointer, ctypes.c_char_p])
    backend = init(device, None)
    if not backend:
        raise RuntimeError("ggml could not start the device")
    if address := proc_address(registry_of(device), "ggml_backend_set_n_threads"):
        ctypes.CFUNCTYPE(None, Pointer, ctypes.c_int)(address)(backend, threads)
    yield backend
    ggml("ggml_backend_free", None, [Pointer])(backend)


@contextmanager
def _graph(device: int, product: Product) -> Iterator[int | None]:
    """ggml's graph of the products, all memory filled; None if the device cannot compute it."""
    plain = ggml("ggml_backend_dev_buffer_type", Pointer, [Pointer])(device)
    for buffer_type in [*_extra_buffer_types(device), plain]:
        with ExitStack() as stack:
            weights_context = stack.enter_context(_context(product.count))
            others_context = stack.enter_context(_context(product.count + 1))
            outputs = _products(product, weights_context, others_context)
            memories = [
                stack.enter_context(_memory(others_context, plain)),
                stack.enter_context(_memory(weights_context, buffer_type)),
            ]
            if _supported(device, outputs[0]):
                for memory in memories:
                    _fill(memory)
                yield _expanded(others_context, outputs)
                return
    yield None


def _products(product: Product, weights_context: int, others_context: int) -> list[int]:
    """The tensors of the products' results; those of the weights are in a context of their own."""
    new = ggml(
        "ggml_new_tensor_2d", Pointer, [Pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    )
    multiply = ggml("ggml_mul_mat", Pointer, [Pointer, Pointer, Pointer])
    matrices = product.count if product.distinct else 1
    weights = [new(weights_context, product.type, WIDTH, product.rows) for _ in range(matrices)]
    columns = new(others_context, F32, WIDTH, product.columns)
    return [
        multiply(others_context, weights[number % matrices], columns)
        for number in range(product.count)
    ]


@contextmanager
def _context(tensors: int) -> Iterator[int]:
    """A ggml context with room for so many tensors (without their data) and one graph."""
    overhead = ggml("ggml_tensor_overhead", ctypes.c_size_t)() * (tensors + 1)
    overhead += ggml(
        "ggml_graph_overhead_custom", ctypes.c_size_t, [ctypes.c_size_t, ctypes.c_bool]
    )(2 * tensors + 16, False)
    context = ggml("ggml_init", Pointer, [_ContextParameters])(
        _ContextParameters(overhead, None, True)
    )
    yield context
    ggml("ggml_free", None, [Pointer])(context)


class _ContextParameters(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (
        ("memory_bytes", ctypes.c_size_t),
        ("memory", Pointer),
        ("no_alloc", ctypes.c_bool),
    )


@contextmanager
def _memory(context: int, buffer_type: int) -> Iterator[int]:
    """Memory of a device for all tensors of a context."""
    allocate = ggml("ggml_backend_alloc_ctx_tensors_from_buft", Pointer, [Pointer, Pointer])
    buffer = allocate(context, buffer_type)
    if not buffer:
        raise RuntimeError("the device has too little free memory for the measurement")
    yield buffer
    ggml("ggml_backend_buffer_free", None, [Pointer])(buffer)


def _fill(buffer: int) -> None:
    ggml("ggml_backend_buffer_clear", None, [Pointer, ctypes.c_uint8])(buffer, FILL)


def _supported(device: int, tensor: int) -> bool:
    return ggml("ggml_backend_dev_supports_op", ctypes.c_bool, [Pointer, Pointer])(device, tensor)


def _extra_buffer_types(device: int) -> list[int]:
    """Buffer types that llama.cpp prefers for weights on this device, such as CPU_REPACK's."""
    address = proc_address(registry_of(device), "ggml_backend_dev_get_extra_bufts")
    if not address:
        return []
    found = ctypes.CFUNCTYPE(ctypes.POINTER(Pointer), Pointer)(address)(device)
    types: list[int] = []
    while found and (one := found[len(types)]):
        types.append(one)
    return types


def _expanded(context: int, outputs: Sequence[int]) -> int:
    new = ggml("ggml_new_graph_custom", Pointer, [Pointer, ctypes.c_size_t, ctypes.c_bool])
    graph = new(context, 2 * len(outputs) + 16, False)
    expand = ggml("ggml_build_forward_expand", None, [Pointer, Pointer])
    for output in outputs:
        expand(graph, output)
    return int(graph)


def _document(arguments: Sequence[str]) -> object:
    name, threads, stream_bytes = arguments[0], int(arguments[1]), int(arguments[2])
    names = [one.name for one in devices()]
    if name not in names:
        raise ValueError(f"llama.cpp has no device {name}; it has {', '.join(names)}")
    return {
        "device": name,
        "threads": threads,
        "stream_bytes": stream_bytes,
        "types": measure(names.index(name), threads, stream_bytes),
    }


if __name__ == "__main__":
    child.run(_document)
