"""The limit line: llama_decode and argmax over the bindings, nothing else.

Run as a child, `python -m benchmarks.raw_loop MODEL --ctx N --parallel N --threads N`: it loads the
model as localserve does, prints one JSON line, and then answers each JSON line on its input (a
prompt, or several that begin alike, and a number of tokens) with one of its own. Between two lines
it sleeps, as an idle server does. Knows nothing of HTTP, sampling or text. One thread.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
from dataclasses import asdict, dataclass
from itertools import takewhile
from time import perf_counter

import numpy as np
from llama_cpp import llama_cpp


@dataclass(frozen=True, slots=True)
class RawRun:
    """One answer and its token ids.

    `predicted_ms` is from the first token to the last, as servers report it.
    """

    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float
    ids: list[int]


@dataclass(frozen=True, slots=True)
class SharedRun:
    """Several answers to prompts that begin alike.

    `prompt_ms` is up to the first tokens of all, `predicted_ms` from there to the last.
    """

    shared_n: int
    prompt_ms: float
    predicted_ms: float
    ids: list[list[int]]


class RawLoop:
    """A model and a context with the settings of a server."""

    def __init__(self, model: str, context: int, parallel: int, threads: int) -> None:
        llama_cpp.llama_backend_init()
        loaded = llama_cpp.llama_model_load_from_file(
            os.fsencode(model), llama_cpp.llama_model_default_params()
        )
        if loaded is None:
            raise RuntimeError(f"llama.cpp could not load {model}")
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_seq_max = parallel
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.kv_unified = True
        created = llama_cpp.llama_init_from_model(loaded, parameters)
        if created is None:
            raise RuntimeError(f"llama.cpp could not make a context of {context} tokens")
        self._model, self._context = loaded, created
        self._vocabulary = llama_cpp.llama_model_get_vocab(loaded)
        self._vocabulary_size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        self._batch_size = llama_cpp.llama_n_batch(created)

    def run(self, prompt: str, tokens: int) -> RawRun:
        """Continue `prompt` (special tokens are parsed) greedily by exactly `tokens` tokens."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        ids = self._tokenize(prompt)
        started = perf_counter()
        for start in range(0, len(ids), self._batch_size):
            self._decode(ids[start : start + self._batch_size])
        answer = np.empty(tokens, dtype=np.int32)
        answer[0] = self._best()
        answering = perf_counter()
        for index in range(1, tokens):
            self._decode(answer[index - 1 : index])
            answer[index] = self._best()
        ended = perf_counter()
        return RawRun(
            prompt_n=len(ids),
            prompt_ms=(answering - started) * 1e3,
            predicted_n=tokens,
            predicted_ms=(ended - answering) * 1e3,
            ids=answer.tolist(),
        )

    def run_shared(self, prompts: list[str], tokens: int) -> SharedRun:
        """Continue all prompts greedily by exactly `tokens` tokens: what all begin with is computed
        once and shared, the rest in one batch, and then one token of each at every step."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)
        texts = [self._tokenize(prompt).tolist() for prompt in prompts]
        columns = zip(*(text[:-1] for text in texts), strict=False)
        shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
        started = perf_counter()
        for start in range(0, shared, self._batch_size):
            self._step([(0, start, texts[0][start : min(shared, start + self._batch_size)])])
        for sequence in range(1, len(texts)):
            llama_cpp.llama_memory_seq_cp(memory, 0, sequence, 0, shared)
        best = self._step([(one, shared, text[shared:]) for one, text in enumerate(texts)])
        answers = [[token] for token in best]
        answering = perf_counter()
        for step in range(tokens - 1):
            best = self._step(
                [(one, len(text) + step, [best[one]]) for one, text in enumerate(texts)]
            )
            for answer, token in zip(answers, best, strict=True):
                answer.append(token)
        ended = perf_counter()
        return SharedRun(shared, (answering - started) * 1e3, (ended - answering) * 1e3, answers)

    def step_seconds(self, shared: list[int], sequences: int, steps: int) -> list[float]:
        """What each of so many steps takes in which all sequences, which begin with the same
        tokens, get one token more."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)
        size = min(self._batch_size, 512)
        for start in range(0, len(shared), size):
            self._step([(0, start, shared[start : start + size])])
        for sequence in range(1, sequences):
            llama_cpp.llama_memory_seq_cp(memory, 0, sequence, 0, len(shared))
        best = [1_000 + sequence for sequence in range(sequences)]
        seconds = []
        for step in range(steps):
            began = perf_counter()
            best = self._step([(one, len(shared) + step, [best[one]]) for one in range(sequences)])
            seconds.append(perf_counter() - began)
        return seconds

    def hold(self, sequence: int, cells: int) -> None:
        """Let a sequence that holds fewer cells hold so many; they come behind those in use."""
        memory = llama_cpp.llama_get_memory(self._context)
        start = llama_cpp.llama_memory_seq_pos_max(memory, sequence) + 1
        for at in range(start, cells, 512):
            self._step(
                [(sequence, at, [1_000 + place for place in range(at, min(cells, at + 512))])]
            )

    def crowded_step_seconds(self, context: int, steps: int) -> list[float]:
        """What each of so many steps of one new sequence takes, behind what others hold."""
        memory = llama_cpp.llama_get_memory(self._context)
        best = self._step([(0, 0, list(range(1_000, 1_000 + context)))])
        seconds = []
        for step in range(steps):
            began = perf_counter()
            best = self._step([(0, context + step, best)])
            seconds.append(perf_counter() - began)
        llama_cpp.llama_memory_seq_rm(memory, 0, -1, -1)
        return seconds

    def _step(self, parts: list[tuple[int, int, list[int]]]) -> list[int]:
        """Compute tokens of sequences, each from a position on; the best token after each part."""
        batch = llama_cpp.llama_batch_init(sum(len(ids) for _, _, ids in parts), 0, 1)
        lasts: list[int] = []
        for sequence, start, ids in parts:
            for offset, token in enumerate(ids):
                at = batch.n_tokens
                batch.token[at], batch.pos[at] = token, start + offset
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.logits[at] = offset == len(ids) - 1
                batch.n_tokens += 1
            lasts.append(batch.n_tokens - 1)
        status = llama_cpp.llama_decode(self._context, batch)
        count = batch.n_tokens
        llama_cpp.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode answered {status} for {count} tokens")
        return [self._best(last) for last in lasts]

    def _decode(self, ids: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        pointer = ids.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token))
        batch = llama_cpp.llama_batch_get_one(pointer, len(ids))
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode answered {status} for {len(ids)} tokens")

    def _best(self, row: int = -1) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(logits, shape=(self._vocabulary_size,)).argmax())

    def _tokenize(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        data = text.encode()
        room = len(data) + 8
        ids = np.empty(room, dtype=np.int32)
        pointer = ids.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token))
        count = llama_cpp.llama_tokenize(
            self._vocabulary, data, len(data), pointer, room, True, True
        )
        if count <= 0:
            raise RuntimeError(f"llama_tokenize answered {count} for {len(data)} bytes")
        return ids[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--ctx", type=int, required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    loop = RawLoop(options.model, options.ctx, options.parallel, options.threads)
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if "prompts" in asked:
            _say(asdict(loop.run_shared(asked["prompts"], asked["tokens"])))
        else:
            _say(asdict(loop.run(asked["prompt"], asked["tokens"])))


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
