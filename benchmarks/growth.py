"""How cost grows with sequences and with context, and which part of it is llama.cpp's.

Run as `python -m benchmarks.growth`. The engine's own steps (scheduler, runner, sampler) without
thread and HTTP, with the time within llama_decode told apart; beside it the same steps by hand over
the bindings (`raw_loop.py`): llama_decode and argmax. All sequences begin with the same tokens,
whose cells they share, so that many of them have a context each without as much memory.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Self

import llama_cpp
import psutil
import typer

from benchmarks.raw_loop import RawLoop
from benchmarks.run import own_model
from benchmarks.shapes import ShapeName
from benchmarks.tables import Findings, Section, busy_notes, show
from localserve.chat import DEFAULT_SAMPLING
from localserve.engine.pacer import Pacer
from localserve.engine.runner import Sampled, TokenChunk
from localserve.engine.scheduler import Scheduler
from localserve.engine.sequence import GenerateRequest, Sequence
from localserve.llama.model import LlamaModel
from localserve.llama.runner import LlamaRunner
from localserve.planner.runtime import Runtime

SEQUENCES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (1_024, 2_048, 4_096, 8_192, 16_384)
SHORT_CONTEXT = 256
"""Where sequences are counted."""

WARM_UP_STEPS = 4
MOST_PYTHON_MS = {16: 1.0, 64: 3.0}


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of one step in which each sequence gets a token, in seconds.

    `step` is ours as a whole, of which `decode` is within llama_decode; `raw` is by hand.
    """

    sequences: int
    context: int
    step: float
    decode: float
    raw: float

    @property
    def ours(self) -> float:
        """What is not llama_decode: choosing, filling, sampling, taking over."""
        return self.step - self.decode


class DecodeClock:
    """Adds up what llama_decode takes, within the block; GPUs compute on after it has returned."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._decode = llama_cpp.llama_decode

    def __enter__(self) -> Self:
        llama_cpp.llama_decode = self._timed
        return self

    def __exit__(self, *error: object) -> None:
        llama_cpp.llama_decode = self._decode

    def _timed(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            status = self._decode(*arguments)
            llama_cpp.llama_synchronize(arguments[0])
            return status
        finally:
            self.seconds += time.perf_counter() - began


class Bench:
    """One model twice: under our engine, and by hand."""

    def __init__(
        self, clock: DecodeClock, model: Path, threads: int, context: int, sequences: int
    ) -> None:
        self._clock = clock
        runtime = Runtime(context, sequences + 1)
        self._runner = LlamaRunner(LlamaModel(model, runtime), runtime, threads=threads)
        self._runner.warm_up()
        self._raw = RawLoop(str(model), context, sequences, threads)

    def measure(self, sequences: int, context: int, steps: int) -> Cost:
        """Steps behind a shared beginning of `context` tokens."""
        size = self._runner.vocabulary.size
        shared = random.Random(context).choices(range(1_000, size - 1_000), k=context)
        steps += WARM_UP_STEPS
        ours = self._our_steps(shared, sequences, steps)[WARM_UP_STEPS:]
        raw = self._raw.step_seconds(shared, sequences, steps)[WARM_UP_STEPS:]
        return Cost(
            sequences,
            context,
            step=median(step for step, _ in ours),
            decode=median(decode for _, decode in ours),
            raw=median(raw),
        )

    def _our_steps(
        self, shared: list[int], sequences: int, steps: int
    ) -> list[tuple[float, float]]:
        """Seconds of each step, and of llama_decode in it."""
        pacer = Pacer(None, self._runner.batch_tokens)
        scheduler = Scheduler(
            self._runner,
            self._runner.vocabulary,
            pacer,
            max_running=sequences,
            max_waiting=sequences,
        )
        running = [self._sequence(shared, number, steps) for number in range(sequences)]
        scheduler.submit(*running)
        while not all(one.answer_length for one in running):
            self._step(scheduler, pacer)
        taken = [self._step(scheduler, pacer) for _ in range(steps)]
        for one in running:
            scheduler.cancel(one)
        for slot in range(self._runner.slots):
            self._runner.truncate(slot, 0)
        return taken

    def _sequence(self, shared: list[int], number: int, steps: int) -> Sequence:
        request = GenerateRequest(
            (TokenChunk((*shared, 1_000 + number)),),
            DEFAULT_SAMPLING,
            max_tokens=steps + 12,
            ignore_end=True,
        )
        sequence = Sequence(number, request, self._runner.cells)
        sequence.sampler = self._runner.make_sampler(
            DEFAULT_SAMPLING, history=sequence.tokens, top_logprobs=None, ignore_end=True
        )
        return sequence

    def _step(self, scheduler: Scheduler, pacer: Pacer) -> tuple[float, float]:
        began, decode = time.perf_counter(), self._clock.seconds
        step, _ = scheduler.schedule()
        running = time.perf_counter()
        results = self._runner.run(step.slices)
        seconds = time.perf_counter() - running
        taken = [[one for one in result if isinstance(one, Sampled)] for result in results]
        pacer.observe(step.answering, step.prompt_tokens, seconds)
        scheduler.update(step, taken)
        return time.perf_counter() - began, self._clock.seconds - decode


_HEADINGS = (
    "tok/s",
    "step (ms)",
    "decode (ms)",
    "ours (ms)",
    "ours",
    "raw tok/s",
    "raw (ms)",
    "step/raw",
    "goal (ours)",
)


def sections(by_sequences: Many[Cost], by_context: Many[Cost]) -> tuple[Section, ...]:
    """One table for each direction."""
    return (
        Section(
            ("sequences", *_HEADINGS),
            tuple((str(cost.sequences), *_cells(cost)) for cost in by_sequences),
            f"a context of {SHORT_CONTEXT} tokens",
        ),
        Section(
            ("context", *_HEADINGS),
            tuple((f"{cost.context:,}", *_cells(cost)) for cost in by_context),
            "one sequence",
        ),
    )


def _cells(cost: Cost) -> tuple[str, ...]:
    goal = MOST_PYTHON_MS.get(cost.sequences)
    verdict = ""
    if goal is not None:
        verdict = f"< {goal:.0f} ms {'met' if cost.ours * 1e3 < goal else 'missed'}"
    return (
        f"{cost.sequences / cost.step:.1f}",
        f"{cost.step * 1e3:.2f}",
        f"{cost.decode * 1e3:.2f}",
        f"{cost.ours * 1e3:.2f}",
        f"{cost.ours / cost.step:.1%}",
        f"{cost.sequences / cost.raw:.1f}",
        f"{cost.raw * 1e3:.2f}",
        f"{cost.step / cost.raw:.3f}",
        verdict,
    )


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps measured each.")] = 24,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Measure steps by their sequences and by their context.

    For example: python -m benchmarks.growth --steps 50 --log "less Python"
    """
    chosen = model or own_model(ShapeName.TINY if quick else ShapeName.QWEN3_0_6B)
    threads = threads or psutil.cpu_count(logical=False) or 1
    many, contexts = ((1, 4), CONTEXTS[:1]) if quick else (SEQUENCES, CONTEXTS)
    steps = 4 if quick else steps
    notes = busy_notes()
    room = max(contexts[-1], SHORT_CONTEXT) + many[-1] * (steps + WARM_UP_STEPS + 16) + 1_024
    by_sequences: list[Cost] = []
    by_context: list[Cost] = []
    with DecodeClock() as clock:
        bench = Bench(clock, chosen, threads, room, many[-1])
        for sequences in many:
            print(f"{sequences} sequences", file=sys.stderr)
            by_sequences.append(bench.measure(sequences, SHORT_CONTEXT, steps))
        for context in contexts:
            print(f"a context of {context:,} tokens", file=sys.stderr)
            by_context.append(bench.measure(1, context, steps))
    findings = Findings(
        settings={"file": chosen.name, "threads": str(threads), "steps": str(steps)},
        sections=sections(by_sequences, by_context),
        samples=[asdict(cost) for cost in (*by_sequences, *by_context)],
        notes=notes,
    )
    show(findings, json_output=json_output, log=log)


if __name__ == "__main__":
    typer.run(main)
