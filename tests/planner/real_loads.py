"""Loads models for real, one after the other, and prints what llama.cpp then holds of each.

A child process of the tests: its input is a JSON list of paths and runtimes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from localserve.planner import usage
from localserve.planner.runtime import Runtime, from_document
from localserve.planner.usage import MemoryUsage


def load_all(models: Sequence[tuple[Path, Runtime]]) -> list[MemoryUsage]:
    """What each model takes when it is really loaded and has computed a token."""
    question = [[str(path), runtime.as_document()] for path, runtime in models]
    command = [sys.executable, "-m", "tests.planner.real_loads"]
    done = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, timeout=300, check=True
    )
    return [usage.from_document(json.loads(line)) for line in done.stdout.splitlines()]


def main() -> None:
    """The child."""
    from localserve.llama.embedder import LlamaEmbedder
    from localserve.llama.model import LlamaModel
    from localserve.llama.runner import LlamaRunner

    for path, document in json.load(sys.stdin):
        runtime = from_document(document)
        kind = LlamaRunner if runtime.pooling is None else LlamaEmbedder
        runner = kind(LlamaModel(Path(path), runtime), runtime, threads=1)
        runner.warm_up()
        print(json.dumps(runner.memory().as_document()))
        runner.close()


if __name__ == "__main__":
    main()
