"""A worker whose llama.cpp meets a broken invariant when a file appears. For tests only.

With FAULT_AT_START it aborts before it serves, with FAULT_AT_END it hangs in its shutdown, with
FAULT_IN_THREAD it never ends to tokenize.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import llama_cpp

import localserve.server.worker
from localserve.backends.prompts import Prompts
from localserve.engine.runner import Sampled, Slice, Unsampled
from localserve.llama.runner import BatchArrays, LlamaRunner
from localserve.manager import ModelManager

log = logging.getLogger(__name__)

FAULT = Path(os.environ["FAULT_FILE"])

_run = LlamaRunner.run


def run(self: LlamaRunner, batch: Sequence[Slice]) -> list[list[Sampled | Unsampled]]:
    if FAULT.exists():
        FAULT.unlink()
        # One more than llama.cpp was told to expect: GGML_ASSERT(n_tokens_all <= n_batch).
        too_many = self.batch_tokens + 1
        arrays = BatchArrays(too_many)
        arrays.fill([Slice(self.slots - 1, 0, [0] * too_many, None)])
        llama_cpp.llama_decode(self._context, arrays.struct)
    return _run(self, batch)


async def hang(self: object) -> None:
    time.sleep(600)  # noqa: ASYNC251 (a hang is meant)


def stall(self: object, text: str, param: str) -> list[int]:
    log.warning("it is stuck")
    time.sleep(600)
    return []


LlamaRunner.run = run  # type: ignore[method-assign]

if __name__ == "__main__":
    if os.environ.get("FAULT_AT_START"):
        os.abort()
    if os.environ.get("FAULT_AT_END"):
        ModelManager.close = hang  # type: ignore[method-assign]
        localserve.server.worker.GRACE_SECONDS = 0.5
        localserve.server.worker.SELF_DESTRUCT_SECONDS = 0.5
    if os.environ.get("FAULT_IN_THREAD"):
        Prompts._of_text = stall  # type: ignore[method-assign]
    localserve.server.worker.main()
