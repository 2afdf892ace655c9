"""What loading a model would take: `python -m localserve.llama.dry_run`, a child process.

It reads one JSON object from its input: `model`, the path of a GGUF file (a header with a hole
behind it will do), and `runtimes`. It writes one line for each runtime, in their order: what
llama.cpp would hold on each device, or the `problem` that it has with it. Nothing of the weights
is read or allocated. llama.cpp may abort at what it finds; nobody but this process is hurt then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp

from localserve.errors import ModelUnusable
from localserve.llama import library
from localserve.llama.memory import MemoryUntold, usage_of
from localserve.llama.model import LlamaModel
from localserve.llama.parameters import context_parameters
from localserve.planner import runtime as runtimes
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage


def main() -> None:
    """Answer the question that is read."""
    question = json.load(sys.stdin)
    library.hush()
    path = Path(question["model"])
    loaded: tuple[Runtime, LlamaModel] | None = None
    for document in question["runtimes"]:
        runtime = runtimes.from_document(document)
        try:
            if loaded is None or placement(loaded[0]) != placement(runtime):
                loaded = runtime, LlamaModel(path, dry(runtime), dry=True)
            answer: dict[str, Any] = dry_run(loaded[1], runtime).as_document()
        except (ModelUnusable, MemoryUntold) as problem:
            answer = {"problem": str(problem)}
        print(json.dumps(answer), flush=True)


def placement(runtime: Runtime) -> tuple[object, ...]:
    """What of a runtime decides where the weights lie."""
    return runtime.gpu_layers, runtime.cpu_expert_layers, runtime.tensor_split


def dry(runtime: Runtime) -> Runtime:
    """The runtime as llama.cpp can dry it: a mapped file cannot be, and weighs the same."""
    return Runtime(**{**runtime.as_document(), "load_mode": "none"})


def dry_run(model: LlamaModel, runtime: Runtime) -> MemoryUsage:
    """What a context on the model would take. Raises: ModelUnusable, MemoryUntold."""
    library.newest_errors()
    context = llama_cpp.llama_init_from_model(model.handle, context_parameters(runtime))
    if not context:
        reasons = "; ".join(library.newest_errors()[-3:]) or "it gave no reason"
        raise ModelUnusable(f"llama.cpp cannot make such a context: {reasons}.")
    try:
        return usage_of(context, model.handle, runtime)
    finally:
        llama_cpp.llama_free(context)


if __name__ == "__main__":
    main()
