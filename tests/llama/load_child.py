"""Loads models with llama.cpp itself, past our checks, and prints what it says of them as JSON.

Run as a child: `python -m tests.llama.load_child [--hollow] PATH...`; llama.cpp may abort it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp


def main(paths: list[str]) -> None:
    hollow = paths[0] == "--hollow"
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    for path in paths[1:] if hollow else paths:
        print(json.dumps(_load(path, hollow)), flush=True)


def _load(path: str, hollow: bool) -> dict[str, object]:
    params = llama_cpp.llama_model_default_params()
    if hollow:
        params.no_alloc, params.load_mode = True, llama_cpp.LLAMA_LOAD_MODE_NONE
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        return {"path": path, "loaded": False}
    said = {
        "path": path,
        "name": Path(path).stem,
        "loaded": True,
        "parameters": llama_cpp.llama_model_n_params(model),
        "weights_bytes": llama_cpp.llama_model_size(model),
        "layers": llama_cpp.llama_model_n_layer(model),
        "embedding_length": llama_cpp.llama_model_n_embd(model),
        "heads": llama_cpp.llama_model_n_head(model),
        "kv_heads": llama_cpp.llama_model_n_head_kv(model),
        "window": llama_cpp.llama_model_n_swa(model),
        "recurrent": llama_cpp.llama_model_is_recurrent(model),
        "hybrid": llama_cpp.llama_model_is_hybrid(model),
        "decoded": None if hollow else _decode(model),
    }
    llama_cpp.llama_model_free(model)
    return said


def _decode(model: llama_cpp.llama_model_p) -> int:
    """The status of a first batch of five tokens; 0 is good."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = 256, 64, 64, 1
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        return -1
    tokens = (ctypes.c_int32 * 5)(1, 2, 3, 4, 5)
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 5))
    llama_cpp.llama_free(context)
    return int(status)


if __name__ == "__main__":
    main(sys.argv[1:])
