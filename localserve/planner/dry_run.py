"""Asks llama.cpp, in a child process, what a model would take. Blocks: call it in a worker.

llama.cpp ends its process at what it does not expect, and a file from the network is not to be
trusted: so it is a child that reads it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localserve.planner import usage
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage

PROGRAM = "localserve.llama.dry_run"
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Refused:
    """llama.cpp would not run the model so; `reason` is one line. `crashed` says that the child
    died of it: loading the model would end this process, too."""

    reason: str
    crashed: bool = False


def dry_run(
    model: Path, runtimes: Sequence[Runtime], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> list[MemoryUsage | Refused]:
    """What each of the runtimes would take, in their order.

    `model` is a GGUF file, of a split one the first; a header with a hole behind it will do. Those
    with the same placement of weights cost little more than one.
    """
    question = {"model": str(model), "runtimes": [runtime.as_document() for runtime in runtimes]}
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # which would take seconds
    )
    try:
        output, complaint = process.communicate(json.dumps(question), timeout_seconds)
        end = Refused(_how_it_ended(process.returncode, complaint), process.returncode < 0)
    except subprocess.TimeoutExpired:
        process.kill()
        output = _rest(process)
        end = Refused(f"llama.cpp did not answer within {timeout_seconds:.0f} s")
    answers = [_read(line) for line in output.splitlines()]
    return [*answers, *[end] * (len(runtimes) - len(answers))]


def _rest(process: subprocess.Popen[str]) -> str:
    """What a killed child had written; a driver may hold it, and is not waited for."""
    try:
        output, _ = process.communicate(timeout=2.0)
    except subprocess.TimeoutExpired:
        return ""
    return output


def _read(line: str) -> MemoryUsage | Refused:
    document = json.loads(line)
    if "problem" in document:
        return Refused(document["problem"])
    return usage.from_document(document)


def _how_it_ended(status: int, complaint: str) -> str:
    """One line for a child that gave fewer answers than asked."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    told = lines[-1] if lines else "it gave no reason"
    if status < 0:
        return f"llama.cpp gave up on this file ({signal.Signals(-status).name}): {told}"
    return f"the dry run ended with status {status}: {told}"
