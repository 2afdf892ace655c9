"""Makes a llama_context that can be interrupted. Call it on the thread that is to use it."""

from __future__ import annotations

import ctypes
import sys

import llama_cpp

from localserve.errors import ModelUnusable, OutOfMemory
from localserve.llama import library
from localserve.llama.devices import devices
from localserve.llama.model import LlamaModel
from localserve.llama.parameters import context_parameters
from localserve.planner.devices import GPU_KINDS
from localserve.planner.runtime import Runtime


def make_context(
    model: LlamaModel, runtime: Runtime, threads: int, interrupt: ctypes.Array[ctypes.c_char]
) -> llama_cpp.llama_context_p:
    """A context whose steps end early while `interrupt`, which must outlive it, is not empty.

    Closes the model and raises ModelUnusable or OutOfMemory where llama.cpp makes none.
    """
    params = context_parameters(runtime)
    params.n_threads = threads
    params.n_threads_batch = threads
    params.abort_callback = _length_is_nonzero()
    params.abort_callback_data = ctypes.addressof(interrupt)
    context = llama_cpp.llama_init_from_model(model.handle, params)
    if not context:
        reasons = library.newest_errors()
        model.close()
        kind = OutOfMemory if library.memory_ran_out(reasons) else ModelUnusable
        raise kind(
            f"llama.cpp could not make a context of {runtime.context_tokens} tokens:"
            f" {'; '.join(reasons[-3:]) or 'it gave no reason'}.",
            hint="Try a smaller --ctx or a smaller --parallel.",
        )
    return context


def computes_on_gpu(runtime: Runtime) -> bool:
    """Whether some layers lie on a GPU, and their cells with them."""
    return runtime.gpu_layers != 0 and any(one.kind in GPU_KINDS for one in devices())


def device_in_words() -> str:
    """The device that computes."""
    found = devices()
    chosen = next((one for one in found if one.kind in GPU_KINDS), found[0])
    return f"{chosen.description} ({chosen.name})"


def _length_is_nonzero() -> object:
    """A C function bool(void *) that reads a flag, for llama.cpp to ask between graph nodes.

    It is libc's `strlen` over the flag's buffer: a callback into Python would cost a lock on the
    interpreter at every node of every step.
    """
    libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    return ctypes.cast(libc.strlen, llama_cpp.ggml_abort_callback)
