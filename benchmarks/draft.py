"""What a draft model brings: answers computed with and without, alternating, in one process.

Run as `scripts/bench draft`. Two models of random weights would never agree, so both do all their
work and then say what was given: the model the next token of its answer, the draft the same one in
so many of ten cases, by chance, and else another. Only the answers are timed, none of which repeats
anything. It knows the engine and llama.cpp, nothing of HTTP.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from collections.abc import Sequence as Batch
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich import print as show
from rich.table import Table

from benchmarks.guessing import CONTEXT_TOKENS, Replay, never_again
from benchmarks.run import own_model
from benchmarks.shapes import ShapeName
from localserve.chat import DEFAULT_SAMPLING
from localserve.engine.pacer import Pacer
from localserve.engine.runner import Drafter, Sampled, Slice, TokenChunk
from localserve.engine.scheduler import Scheduler, Step
from localserve.engine.sequence import GenerateRequest, Sequence
from localserve.llama.model import LlamaModel
from localserve.llama.runner import LlamaRunner
from localserve.planner.companions import runtime_of_draft
from localserve.planner.runtime import GUESS_TOKENS, Runtime

BUDGET_SECONDS = 0.5
MOST_STREAMS = 4
GOAL = 0.97
"""Of plain decoding: what is left at least where a draft does not help."""


@dataclass(frozen=True, slots=True)
class Case:
    """So many answers at once, and how often the draft is right."""

    streams: int
    right: float


CASES = tuple(Case(streams, right) for streams in (1, MOST_STREAMS) for right in (0.9, 0.7, 0.0))


@dataclass(frozen=True, slots=True)
class Run:
    """All answers of one case, after their first tokens."""

    seconds: float
    tokens: int
    guessed: int
    right: int

    @property
    def rate(self) -> float:
        """Tokens per second of all answers together."""
        return self.tokens / self.seconds


class Prompter:
    """A drafter that does all its work and then says what `text_of` the slot has there, or, where
    chance has it, something else."""

    def __init__(
        self, drafter: Drafter, right: float, seed: int, text_of: Callable[[int], list[int]]
    ) -> None:
        self._drafter = drafter
        self._right = right
        self._random = random.Random(seed)
        self._text_of = text_of
        self.cost, self.batch_tokens = drafter.cost, drafter.batch_tokens
        self.held, self.truncate = drafter.held, drafter.truncate
        self.share, self.clear = drafter.share, drafter.clear

    def likeliest(self, batch: Batch[Slice]) -> list[int]:
        """As the drafter computes it, and as it was told to say."""
        self._drafter.likeliest(batch)
        return list(map(self._said, batch))

    def _said(self, part: Slice) -> int:
        text, at = self._text_of(part.slot), part.start + len(part.tokens)
        token = text[at] if at < len(text) else 0
        return token if self._random.random() < self._right else token ^ 1


class Bench:
    """Both models, loaded."""

    def __init__(self, model: Path, draft: Path, threads: int) -> None:
        runtime = Runtime(CONTEXT_TOKENS, 2 * MOST_STREAMS, guess_tokens=GUESS_TOKENS, gpu_layers=0)
        self.runner = LlamaRunner(
            LlamaModel(model, runtime),
            runtime,
            threads=threads,
            draft_model=LlamaModel(draft, runtime_of_draft(runtime)),
        )
        self.runner.warm_up()

    def run(self, case: Case, seed: int, *, drafts: bool) -> Run:
        """Compute the prompts and then the answers, which the samplers dictate."""
        runner = self.runner
        assert runner.drafter is not None
        texts = [
            never_again(100 * seed + number, runner.vocabulary.size)
            for number in range(case.streams)
        ]
        sequences = [self._sequence(number, *text) for number, text in enumerate(texts)]

        def text_of(slot: int) -> list[int]:
            number = next(one.number for one in sequences if one.slot == slot)
            return [*texts[number][0], *texts[number][1]]

        pacer = Pacer(BUDGET_SECONDS, runner.batch_tokens)
        scheduler = Scheduler(
            runner,
            runner.vocabulary,
            pacer,
            max_running=case.streams,
            max_waiting=case.streams,
            drafter=Prompter(runner.drafter, case.right, seed, text_of) if drafts else None,
        )
        scheduler.submit(*sequences)
        while not scheduler.idle:
            self._compute(scheduler, pacer, scheduler.draft(scheduler.schedule()[0]))
        for slot in range(runner.slots):
            runner.truncate(slot, 0)
        times = [sequence.times for sequence in sequences]
        return Run(
            max(one.last_token for one in times) - max(one.first_token for one in times),
            sum(sequence.answer_length - 1 for sequence in sequences),
            scheduler.guessed_tokens,
            scheduler.right_tokens,
        )

    def _sequence(self, number: int, prompt: list[int], answer: list[int]) -> Sequence:
        asked = GenerateRequest(
            (TokenChunk(tuple(prompt)),),
            DEFAULT_SAMPLING,
            max_tokens=len(answer),
            ignore_end=True,
        )
        sequence = Sequence(number, asked, self.runner.cells)
        sequence.sampler = Replay(
            answer,
            sampling=DEFAULT_SAMPLING,
            history=prompt,
            top_logprobs=None,
            banned=(),
            workspace=self.runner.workspace,
        )
        return sequence

    def _compute(self, scheduler: Scheduler, pacer: Pacer, step: Step) -> None:
        began = time.monotonic()
        results = self.runner.run(step.slices)
        seconds = time.monotonic() - began
        pacer.observe(step.answering, step.prompt_tokens, seconds, step.guessed_tokens)
        taken = [[one for one in result if isinstance(one, Sampled)] for result in results]
        scheduler.update(step, taken)


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 1.7B of random weights.")] = None,
    draft: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Alternating runs.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure answers with and without a draft model."""
    shapes = (ShapeName.TINY,) * 2 if quick else (ShapeName.QWEN3_1_7B, ShapeName.QWEN3_0_6B)
    bench = Bench(model or own_model(shapes[0]), draft or own_model(shapes[1]), threads)
    found: dict[Case, dict[bool, list[Run]]] = {}
    for case in CASES:
        found[case] = {False: [], True: []}
        for number in range(1 if quick else runs):
            for drafts in (False, True) if number % 2 else (True, False):
                found[case][drafts].append(bench.run(case, number, drafts=drafts))
    bench.runner.close()
    if json_output:
        print(json.dumps([document(case, each) for case, each in found.items()], indent=2))
    else:
        show(table(found))


def document(case: Case, runs: dict[bool, list[Run]]) -> dict[str, object]:
    """One case with all its runs, for JSON."""
    plain, drafted = ([asdict(run) for run in runs[drafts]] for drafts in (False, True))
    return {**asdict(case), "plain": plain, "drafted": drafted}


def table(found: dict[Case, dict[bool, list[Run]]]) -> Table:
    """Medians and their ratios."""
    titles = ("answers", "draft right", "plain tok/s", "drafted tok/s", "guessed", "right", "ratio")
    shown = Table(*titles, "goal")
    for case, runs in found.items():
        plain, ahead = (median(run.rate for run in runs[drafts]) for drafts in (False, True))
        counts = (
            median(getattr(run, count) for run in runs[True]) for count in ("guessed", "right")
        )
        shown.add_row(
            str(case.streams),
            f"{case.right:.0%}",
            f"{plain:.1f}",
            f"{ahead:.1f}",
            *(f"{count:.0f}" for count in counts),
            f"{ahead / plain:.2f}",
            f"≥ {GOAL} {'met' if ahead / plain >= GOAL else 'missed'}",
        )
    return shown


if __name__ == "__main__":
    typer.run(main)
