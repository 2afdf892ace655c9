"""Graphs of ggml operations on one device, built by hand and timed.

One thread; in a child, for ggml may abort.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from localserve.llama.devices import proc_address, registry_of
from localserve.llama.library import ggml

F32, F16 = 0, 1
"""ggml's numbers of the types."""

FILL = 0x2C
"""Every byte of all tensors: ordinary numbers in each type, whereas zeros might be special."""

RUN_SECONDS = 0.12
"""How long runs of a graph are repeated."""

LEAST_RUNS = 3

Pointer = ctypes.c_void_p
Build = Callable[[int, int], Sequence[int]]
"""Makes tensors in two contexts, that of the weights and that of all else; returns the outputs."""


class Graphs:
    """Builds and times graphs on one device. Use it as a context manager.

    `device` is ggml's pointer, `threads` are those of the CPU.
    """

    def __init__(self, device: int, threads: int) -> None:
        self._device = device
        self._threads = threads
        self._backend = 0

    def __enter__(self) -> Graphs:
        init = ggml("ggml_backend_dev_init", Pointer, [Pointer, ctypes.c_char_p])
        self._backend = init(self._device, None)
        if not self._backend:
            raise RuntimeError("ggml could not start the device")
        if address := proc_address(registry_of(self._device), "ggml_backend_set_n_threads"):
            set_threads = ctypes.CFUNCTYPE(None, Pointer, ctypes.c_int)(address)
            set_threads(self._backend, self._threads)
        return self

    def __exit__(self, *_: object) -> None:
        ggml("ggml_backend_free", None, [Pointer])(self._backend)

    def seconds(self, build: Build, tensors: int) -> float | None:
        """The middle time of one run of a graph with at most so many tensors in each context.

        The middle because that is what an answer takes, most of the time: the shortest run is a
        lucky one. Weights are in the buffer
        type that llama.cpp would choose for them (repacked on some CPUs). None where the device
        cannot compute the graph.
        """
        plain = ggml("ggml_backend_dev_buffer_type", Pointer, [Pointer])(self._device)
        supports = ggml("ggml_backend_dev_supports_op", ctypes.c_bool, [Pointer, Pointer])
        for buffer_type in [*_extra_buffer_types(self._device), plain]:
            with ExitStack() as stack:
                weights = stack.enter_context(_context(tensors))
                others = stack.enter_context(_context(tensors))
                outputs = build(weights, others)
                buffers = [
                    stack.enter_context(_memory(context, kind))
                    for context, kind in ((others, plain), (weights, buffer_type))
                    if _has_tensors(context)
                ]
                if all(supports(self._device, output) for output in outputs):
                    for buffer in buffers:
                        ggml("ggml_backend_buffer_clear", None, [Pointer, ctypes.c_uint8])(
                            buffer, FILL
                        )
                    return self._middle(_expanded(others, outputs, tensors))
        return None

    def _middle(self, graph: int) -> float:
        compute = ggml("ggml_backend_graph_compute", ctypes.c_int, [Pointer, Pointer])
        times: list[float] = []
        end = math.inf
        while len(times) <= LEAST_RUNS or time.perf_counter() < end:
            began = time.perf_counter()
            if status := compute(self._backend, graph):
                raise RuntimeError(f"ggml could not compute (status {status})")
            ended = time.perf_counter()
            if not times:  # it warms up, and is left out
                end = ended + RUN_SECONDS
            times.append(ended - began)
        return median(times[1:])


def matrix(context: int, kind: int, columns: int, rows: int) -> int:
    """A tensor of `rows` rows of `columns` numbers each."""
    return int(
        ggml(
            "ggml_new_tensor_2d", Pointer, [Pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        )(context, kind, columns, rows)
    )


def multiply(context: int, weights: int, columns: int) -> int:
    """The product of a matrix of weights with columns."""
    return int(
        ggml("ggml_mul_mat", Pointer, [Pointer, Pointer, Pointer])(context, weights, columns)
    )


def scale_each(context: int, one: int, other: int) -> int:
    """The product of two tensors, element by element."""
    return int(ggml("ggml_mul", Pointer, [Pointer, Pointer, Pointer])(context, one, other))


def heads(context: int, kind: int, length: int, count: int, tokens: int) -> int:
    """Vectors of attention heads as llama.cpp lays them out: token by token, seen head by head."""
    sizes = [ctypes.c_int64] * 3
    made = ggml("ggml_new_tensor_3d", Pointer, [Pointer, ctypes.c_int, *sizes])(
        context, kind, length, count, tokens
    )
    permute = ggml("ggml_permute", Pointer, [Pointer, Pointer, *([ctypes.c_int] * 4)])
    return int(permute(context, made, 0, 2, 1, 3))


def attend(context: int, queries: int, keys: int, values: int, mask: int) -> int:
    """Fused attention ('flash attention') of `heads`; `mask` is a matrix in F16."""
    numbers = [ctypes.c_float] * 3
    return int(
        ggml("ggml_flash_attn_ext", Pointer, [*([Pointer] * 5), *numbers])(
            context, queries, keys, values, mask, 0.1, 0.0, 0.0
        )
    )


def row_bytes(kind: int, columns: int) -> int:
    """The bytes of a row of a type."""
    return int(
        ggml("ggml_row_size", ctypes.c_size_t, [ctypes.c_int, ctypes.c_int64])(kind, columns)
    )


class _ContextParameters(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (
        ("memory_bytes", ctypes.c_size_t),
        ("memory", Pointer),
        ("no_alloc", ctypes.c_bool),
    )


@contextmanager
def _context(tensors: int) -> Iterator[int]:
    """A ggml context with room for so many tensors (without their data) and one graph."""
    overhead = ggml("ggml_tensor_overhead", ctypes.c_size_t)() * (tensors + 1)
    overhead += ggml(
        "ggml_graph_overhead_custom", ctypes.c_size_t, [ctypes.c_size_t, ctypes.c_bool]
    )(_graph_size(tensors), False)
    context = ggml("ggml_init", Pointer, [_ContextParameters])(
        _ContextParameters(overhead, None, True)
    )
    yield context
    ggml("ggml_free", None, [Pointer])(context)


@contextmanager
def _memory(context: int, buffer_type: int) -> Iterator[int]:
    """Memory of a device for all tensors of a context."""
    allocate = ggml("ggml_backend_alloc_ctx_tensors_from_buft", Pointer, [Pointer, Pointer])
    buffer = allocate(context, buffer_type)
    if not buffer:
        raise RuntimeError("the device has too little free memory for the measurement")
    yield buffer
    ggml("ggml_backend_buffer_free", None, [Pointer])(buffer)


def _has_tensors(context: int) -> bool:
    return bool(ggml("ggml_get_first_tensor", Pointer, [Pointer])(context))


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


def _graph_size(tensors: int) -> int:
    return 2 * tensors + 16


def _expanded(context: int, outputs: Sequence[int], tensors: int) -> int:
    new = ggml("ggml_new_graph_custom", Pointer, [Pointer, ctypes.c_size_t, ctypes.c_bool])
    graph = new(context, _graph_size(tensors), False)
    expand = ggml("ggml_build_forward_expand", None, [Pointer, Pointer])
    for output in outputs:
        expand(graph, output)
    return int(graph)
