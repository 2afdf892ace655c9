"""Choosing one token: our sampler against llama.cpp's chain, on the same row in the same run.

Run as `python -m benchmarks.sampling`. A model of one small layer and a whole vocabulary gives a
context; a row of known shape is written where llama.cpp keeps its logits, and both choose from it
there, in turns: `llama_sampler_sample` with the chain that the settings mean, and `LlamaSampler`.
Figures are microseconds a token on one thread. llama.cpp's chain gives no log probabilities: where
they are asked for, ours with them stands against its chain without.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import llama_cpp
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from benchmarks import report
from benchmarks.machine import busy_share, read_commit, read_machine, read_version
from benchmarks.make_model import WeightType, make_model
from benchmarks.ratios import Goal
from benchmarks.report import Results
from benchmarks.run import LOG
from benchmarks.scenarios import Figure
from benchmarks.servers import OURS
from benchmarks.shapes import Shape
from localserve.chat import Sampling
from localserve.engine.runner import Sampled
from localserve.llama import library
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.weights import Workspace

PEER = "llama.cpp's chain"
VOCABULARY = 151_936
CALLS = 20
"""Of each sampler in a run; the run's figure is their median."""
_BUSY_SHARE = 0.10
_TABLE_WIDTH = 120

Row = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to choose, and what of the peer's time it may take."""

    name: str
    sampling: Sampling
    goal: Goal | None = None
    top_logprobs: int | None = None


_PLAIN = Sampling(temperature=0.8, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, seed=1)
_GREEDY = replace(_PLAIN, temperature=0.0)
_USUAL = replace(_PLAIN, top_k=40, top_p=0.95)

CASES = (
    Case("greedy", _GREEDY, Goal(1 / 15, at_most=True)),
    Case("top-k 40, top-p, temperature", _USUAL, Goal(1 / 3, at_most=True)),
    Case("top-p, temperature", replace(_PLAIN, top_p=0.95), Goal(1 / 20, at_most=True)),
    Case("min-p, temperature", replace(_PLAIN, min_p=0.05)),
    Case("temperature", _PLAIN),
    Case("greedy, 5 logprobs", _GREEDY, top_logprobs=5),
    Case("top-k 40, top-p, temperature, 5 logprobs", _USUAL, top_logprobs=5),
)


def rows(vocabulary: int) -> dict[str, Row]:
    """Logits by what they look like: the first two as language models give them in prose and in
    code, the others as random weights do, where no token is more likely than another."""
    random = np.random.default_rng(0)
    ranks = np.arange(1, vocabulary + 1)
    noise = random.standard_normal(vocabulary) / 4
    prose = random.permutation(20 - 2.0 * np.log(ranks) + noise).astype(np.float32)
    code = random.permutation(20 - 2.5 * np.log(ranks) + noise).astype(np.float32)
    code[code.argmax()] += 4
    normal = random.standard_normal(vocabulary).astype(np.float32)
    return {"prose": prose, "code": code, "flat": normal, "flat, spread 3": 3 * normal}


class Context:
    """A llama_context that has just computed one token; its row of logits can be written over."""

    def __init__(self, vocabulary: int) -> None:
        shape = Shape("sampling", 1, 256, 256, 4, 2, 64, vocabulary, context=512)
        library.start()
        with tempfile.TemporaryDirectory(prefix="localserve-bench-") as folder:
            path = Path(folder) / "sampling.gguf"
            make_model(path, shape, WeightType.F16)
            loading = llama_cpp.llama_model_default_params()
            loading.use_mmap = False
            model = llama_cpp.llama_model_load_from_file(os.fsencode(path), loading)
        if model is None:
            raise RuntimeError("llama.cpp could not load the model that was made")
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = 256
        parameters.n_threads = parameters.n_threads_batch = 1
        context = llama_cpp.llama_init_from_model(model, parameters)
        if context is None:
            raise RuntimeError("llama.cpp could not make a context of 256 tokens")
        self._model, self._context = model, context
        token = ctypes.pointer(llama_cpp.llama_token(1))
        if status := llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(token, 1)):
            raise RuntimeError(f"llama_decode answered {status}")
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        self.row: Row = np.ctypeslib.as_array(logits, shape=(vocabulary,))

    def sample(self, chain: llama_cpp.llama_sampler_p) -> int:
        """llama.cpp's own choice from the row."""
        return int(llama_cpp.llama_sampler_sample(chain, self._context, -1))

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def make_chain(sampling: Sampling) -> llama_cpp.llama_sampler_p:
    """The shortest chain that means the same; greedy is llama.cpp's greedy sampler alone."""
    made = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    chain: llama_cpp.llama_sampler_p = made
    if not sampling.temperature:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
        return chain
    steps = []
    if sampling.top_k:
        steps.append(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        steps.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        steps.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
    steps.append(llama_cpp.llama_sampler_init_temp(sampling.temperature))
    steps.append(llama_cpp.llama_sampler_init_dist(sampling.seed))
    for step in steps:
        llama_cpp.llama_sampler_chain_add(chain, step)
    return chain


class Pair:
    """Our sampler and llama.cpp's chain for one case."""

    def __init__(self, case: Case, context: Context, workspace: Workspace) -> None:
        self._context = context
        self._chain = make_chain(case.sampling)
        self._sampler = LlamaSampler(
            case.sampling,
            history=(),
            top_logprobs=case.top_logprobs,
            banned=(),
            workspace=workspace,
        )

    def ours(self) -> Sampled:
        return self._sampler.sample(self._context.row)

    def theirs(self) -> int:
        return self._context.sample(self._chain)

    def close(self) -> None:
        self._sampler.close()
        llama_cpp.llama_sampler_free(self._chain)


def measure(vocabulary: int, runs: int) -> Results:
    """Every case on every row; a run takes each of them once, ours and theirs in turns."""
    notes = []
    if (busy := busy_share(1.0)) > _BUSY_SHARE:
        notes.append(f"the machine was {busy:.0%} busy with other work: go by the ratios")
    context = Context(vocabulary)
    workspace = Workspace(vocabulary)
    samples: dict[Figure, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    goals: dict[Figure, Goal] = {}
    shown = rows(vocabulary)
    pairs = {(name, case): Pair(case, context, workspace) for name in shown for case in CASES}
    for run in range(runs):
        for (name, case), pair in pairs.items():
            context.row[:] = shown[name]
            figure = Figure(f"{case.name}: {name}", "us")
            if case.goal is not None:
                goals[figure] = case.goal
            sides: list[tuple[str, Callable[[], object]]] = [
                (OURS, pair.ours),
                (PEER, pair.theirs),
            ]
            for side, work in sides if run % 2 else reversed(sides):
                samples[figure][side].append(_microseconds(work))
    for pair in pairs.values():
        pair.close()
    context.close()
    return Results(
        when=datetime.now(UTC),
        machine=read_machine(),
        versions={
            "localserve": f"{read_version('localserve')} ({read_commit()})",
            "llama-cpp-python": read_version("llama-cpp-python"),
            "numpy": read_version("numpy"),
        },
        settings={"vocabulary": f"{vocabulary:,}", "runs": str(runs), "calls a run": str(CALLS)},
        samples=samples,
        goals=goals,
        notes=tuple(notes),
    )


def _microseconds(work: Callable[[], object]) -> float:
    """The median time of a call."""
    times = []
    for _ in range(CALLS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times) * 1e6


def main(
    runs: Annotated[int, typer.Option(min=1, help="Alternating runs.")] = 7,
    vocabulary: Annotated[int, typer.Option(min=1_024, help="Tokens.")] = VOCABULARY,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Measure the choice of a token against llama.cpp's sampler chain.

    For example: python -m benchmarks.sampling --runs 15 --log "columns instead of blocks"
    """
    console = Console(stderr=True)
    results = measure(vocabulary, runs)
    table_console = Console(stderr=json_output)
    table_console.width = max(table_console.width, _TABLE_WIDTH)
    table_console.print(report.render_table(results))
    for note in results.notes:
        console.print(note, style="yellow", highlight=False, markup=False)
    if json_output:
        print(report.render_json(results))
    if log is not None:
        report.append_log_entry(LOG, report.render_log_entry(results, log))
        console.print(f"added to {LOG}")


if __name__ == "__main__":
    typer.run(main)
