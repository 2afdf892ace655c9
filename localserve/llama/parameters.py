"""A `Runtime` as llama.cpp's parameters: the only place where the two meet."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import llama_cpp

from localserve.gguf import pooling
from localserve.llama import library
from localserve.planner.runtime import Runtime

CACHE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
"""Source: enum ggml_type in ggml.h."""

LOAD_MODES = {"none": 0, "mmap": 1}
"""Source: enum llama_load_mode in llama.h."""

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""Source: enum llama_flash_attn_type in llama.h."""

POOLINGS = {kind: number for number, kind in pooling.POOLINGS.items()}

EXPERTS = r"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of a layer's expert tensors. Source: LLM_FFN_EXPS_REGEX in common.h."""


@dataclass
class ModelParameters:
    """`struct` is for llama_model_load_from_file; it points into what `kept` holds."""

    struct: llama_cpp.llama_model_params
    kept: list[Any] = field(default_factory=list)


class _Override(ctypes.Structure):
    """Source: llama_model_tensor_buft_override in llama.h."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


def model_parameters(runtime: Runtime) -> ModelParameters:
    """How the weights are loaded."""
    struct = llama_cpp.llama_model_default_params()
    struct.n_gpu_layers = -1 if runtime.gpu_layers is None else runtime.gpu_layers
    struct.load_mode = LOAD_MODES[runtime.load_mode]
    parameters = ModelParameters(struct)
    if runtime.tensor_split:
        shares = (ctypes.c_float * llama_cpp.llama_max_devices())(*runtime.tensor_split)
        struct.tensor_split = shares
        parameters.kept.append(shares)
    if runtime.cpu_expert_layers:
        overrides = _experts_in_ram(runtime.cpu_expert_layers)
        struct.tensor_buft_overrides = ctypes.addressof(overrides)
        parameters.kept.append(overrides)
    return parameters


def context_parameters(runtime: Runtime) -> Any:
    """A llama_context_params, complete but for threads and callbacks."""
    struct = llama_cpp.llama_context_default_params()
    struct.n_ctx = runtime.context_tokens
    struct.n_batch = runtime.batch_tokens
    struct.n_ubatch = runtime.batch_tokens
    struct.n_seq_max = runtime.sequences
    struct.n_outputs_max = runtime.outputs_max
    struct.type_k = CACHE_TYPES[runtime.cache_type_k]
    struct.type_v = CACHE_TYPES[runtime.cache_type_v]
    struct.flash_attn_type = FLASH_ATTENTION[runtime.flash_attention]
    struct.kv_unified = runtime.kv_unified
    struct.swa_full = runtime.swa_full
    struct.no_perf = True
    if runtime.pooling is not None:
        struct.embeddings = True
        struct.pooling_type = POOLINGS[runtime.pooling]
    return struct


def _experts_in_ram(layers: int) -> ctypes.Array[_Override]:
    """Ends with an empty one, as llama.cpp expects."""
    ram = library.ggml("ggml_backend_cpu_buffer_type", ctypes.c_void_p, [])()
    overrides = (_Override * (layers + 1))()
    for layer in range(layers):
        overrides[layer] = _Override(EXPERTS.format(layer=layer).encode(), ram)
    return overrides
