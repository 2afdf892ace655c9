"""What a llama_context and its model take, as llama.cpp itself counts it.

llama.cpp tells it by a C++ map, for which there is no C function; the map is read where it lies.
Its layout is part of the platform's binary interface and has not changed for a decade; where it is
not known (Windows), the question is not answered.
"""

from __future__ import annotations

import ctypes
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import llama_cpp

from localserve.llama import library
from localserve.llama.devices import device_name
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage

SYMBOL = "_Z26llama_get_memory_breakdownPK13llama_context"
"""llama_get_memory_breakdown(const llama_context *). Source: llama-ext.h."""

MOST_BUFFER_TYPES = 1000


class MemoryUntold(Exception):
    """This build of llama.cpp does not tell what it allocates."""


class _Entry(ctypes.Structure):
    """A buffer type and the bytes in it. Source: llama_memory_breakdown_data in llama-ext.h."""

    _fields_ = [
        ("buffer_type", ctypes.c_void_p),
        ("weights", ctypes.c_size_t),
        ("cache", ctypes.c_size_t),
        ("compute", ctypes.c_size_t),
    ]


class _GnuNode(ctypes.Structure):
    """A node of libstdc++'s std::map. Source: stl_tree.h."""


class _GnuMap(ctypes.Structure):
    """libstdc++'s std::map: comparison, header node (whose parent is the root), count."""

    _fields_ = [
        ("comparison", ctypes.c_size_t),
        ("colour", ctypes.c_size_t),
        ("root", ctypes.POINTER(_GnuNode)),
        ("leftmost", ctypes.c_void_p),
        ("rightmost", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
    ]


_GnuNode._fields_ = [
    ("colour", ctypes.c_size_t),
    ("parent", ctypes.c_void_p),
    ("left", ctypes.POINTER(_GnuNode)),
    ("right", ctypes.POINTER(_GnuNode)),
    ("entry", _Entry),
]


class _LlvmNode(ctypes.Structure):
    """A node of libc++'s std::map. Source: __tree."""


class _LlvmMap(ctypes.Structure):
    """libc++'s std::map: first node, end node (whose left is the root), count."""

    _fields_ = [
        ("leftmost", ctypes.c_void_p),
        ("root", ctypes.POINTER(_LlvmNode)),
        ("count", ctypes.c_size_t),
    ]


_LlvmNode._fields_ = [
    ("left", ctypes.POINTER(_LlvmNode)),
    ("right", ctypes.POINTER(_LlvmNode)),
    ("parent", ctypes.c_void_p),
    ("black", ctypes.c_size_t),
    ("entry", _Entry),
]


def usage_of(
    context: llama_cpp.llama_context_p, model: llama_cpp.llama_model_p, runtime: Runtime
) -> MemoryUsage:
    """What the context and its model hold on each device.

    With `no_alloc` it is what they would hold. Raises: MemoryUntold.
    """
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for entry in _breakdown(context):
        place = sums[_device_of(entry.buffer_type)]
        for index, size in enumerate((entry.weights, entry.cache, entry.compute)):
            place[index] += size
    row = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    if runtime.pooling is not None:
        row += llama_cpp.llama_model_n_embd_out(model)
    return MemoryUsage(
        tuple(DeviceUsage(name, *sizes) for name, sizes in sorted(sums.items())),
        output_bytes=4 * row * runtime.outputs_max,
    )


def _breakdown(context: llama_cpp.llama_context_p) -> list[_Entry]:
    """The entries of llama.cpp's map. Its nodes, some hundred bytes, are not freed."""
    map_type: Any = _LlvmMap if sys.platform == "darwin" else _GnuMap
    try:
        function = getattr(llama_cpp.llama_cpp._lib, SYMBOL)
    except AttributeError:
        raise MemoryUntold("This build of llama.cpp does not tell what it allocates.") from None
    function.restype = map_type
    function.argtypes = [ctypes.c_void_p]
    answer = function(context)
    entries = list(_walk(answer.root)) if answer.count <= MOST_BUFFER_TYPES else []
    if not entries or len(entries) != answer.count:
        raise MemoryUntold("llama.cpp's answer is not laid out as it is on this platform.")
    return entries


def _walk(node: Any) -> Iterator[_Entry]:
    if node:
        yield from _walk(node.contents.left)
        yield node.contents.entry
        yield from _walk(node.contents.right)


def _device_of(buffer_type: int) -> str:
    """The device whose memory a buffer of that type takes."""
    ask = library.ggml
    if ask("ggml_backend_buft_is_host", ctypes.c_bool, [ctypes.c_void_p])(buffer_type):
        return RAM
    device = ask("ggml_backend_buft_get_device", ctypes.c_void_p, [ctypes.c_void_p])(buffer_type)
    return device_name(device) if device else RAM
