"""Loads a projector for real and prints what llama.cpp reserves to compute with it.

A child process of the tests: its arguments are a text model, a projector and whether flash
attention is used; its output is a number of bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

RESERVED = re.compile(r"compute buffer size = +([\d.]+) MiB")


def reserved_bytes(text_model: Path, projector: Path) -> int:
    """The compute buffers that come with the projector, on one thread of the processor."""
    command = [sys.executable, "-m", "tests.planner.real_projectors", text_model, projector]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return round(sum(map(float, RESERVED.findall(done.stderr))) * 2**20)


def main() -> None:
    """The child; llama.cpp's log on standard error has the answer."""
    import llama_cpp
    from llama_cpp import mtmd_cpp

    text_model, projector = (argument.encode() for argument in sys.argv[1:])
    parameters = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(text_model, parameters)
    wanted = mtmd_cpp.mtmd_context_params_default()
    wanted.use_gpu, wanted.warmup, wanted.n_threads = False, True, 1
    assert mtmd_cpp.mtmd_init_from_file(projector, model, wanted)


if __name__ == "__main__":
    main()
