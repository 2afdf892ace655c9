"""What guessing ahead brings: one answer computed with and without, alternating, in one process.

Run as `python -m benchmarks.guessing`. A model of random weights would never repeat its prompt, so
a sampler that does all its work and then says a given token stands in for one that would. Two
answers: a text of 200 lines with one of them changed, and tokens that never come again. Only the
answer is timed. It knows the engine and llama.cpp, nothing of HTTP.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich import print as show
from rich.table import Table

from benchmarks.make_model import WeightType, default_path, make_model
from benchmarks.shapes import SHAPES, ShapeName
from localserve.chat import DEFAULT_SAMPLING
from localserve.engine.guessing import StepCosts
from localserve.engine.pacer import Pacer
from localserve.engine.runner import Sampled, TokenChunk
from localserve.engine.scheduler import Scheduler
from localserve.engine.sequence import Ended, GenerateRequest, Sequence
from localserve.llama.model import LlamaModel
from localserve.llama.runner import LlamaRunner
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.row import Row
from localserve.planner.runtime import GUESS_TOKENS, Runtime

LINES, WORDS_IN_LINE = 200, 6
CONTEXT_TOKENS = 8_192


class Replay(LlamaSampler):
    """Samples as ever, and then says the next token of a given answer."""

    def __init__(self, answer: list[int], **settings: Any) -> None:
        super().__init__(**settings)
        self._answer = iter(answer)

    def sample(self, row: Row) -> Sampled:
        super().sample(row)
        return Sampled(next(self._answer))


@dataclass(frozen=True, slots=True)
class Run:
    """One answer. `steps` are those after its first token."""

    seconds: float
    tokens: int
    steps: int

    @property
    def rate(self) -> float:
        """Tokens per second after the first."""
        return (self.tokens - 1) / self.seconds


class Bench:
    """A loaded model and the costs of steps that were learned so far."""

    def __init__(self, model: Path, threads: int) -> None:
        runtime = Runtime(CONTEXT_TOKENS, 2, guess_tokens=GUESS_TOKENS)
        self.runner = LlamaRunner(LlamaModel(model, runtime), runtime, threads=threads)
        self.runner.warm_up()
        self._costs = StepCosts()

    def run(self, prompt: list[int], answer: list[int], *, guess: bool) -> Run:
        """Compute the prompt and then the answer, which the sampler dictates."""
        pacer = Pacer(0.5, self.runner.batch_tokens)
        if guess:
            pacer.costs = self._costs
        scheduler = Scheduler(
            self.runner, self.runner.vocabulary, pacer, max_running=1, max_waiting=1
        )
        sampling = DEFAULT_SAMPLING
        request = GenerateRequest(
            (TokenChunk(tuple(prompt)),), sampling, max_tokens=len(answer), ignore_end=True
        )
        sequence = Sequence(0, request, self.runner.cells)
        sequence.sampler = Replay(
            answer,
            sampling=sampling,
            history=prompt,
            top_logprobs=None,
            banned=(),
            workspace=self.runner.workspace,
        )
        scheduler.submit(sequence)
        steps, ended = 0, False
        while not ended:
            step, _ = scheduler.schedule()
            began = time.monotonic()
            results = self.runner.run(step.slices)
            seconds = time.monotonic() - began
            pacer.observe(step.answering, step.prompt_tokens, seconds, step.guessed_tokens)
            if not guess:
                pacer.costs = StepCosts()  # without costs nothing is guessed
            taken = [[one for one in result if isinstance(one, Sampled)] for result in results]
            ended = any(isinstance(event, Ended) for _, event in scheduler.update(step, taken))
            steps += step.answering
        self.runner.truncate(0, 0)
        self.runner.truncate(1, 0)
        times = sequence.times
        return Run(times.last_token - times.first_token, len(answer), steps)


def rewriting(seed: int, vocabulary: int) -> tuple[list[int], list[int]]:
    """Lines of random words, and the same with one of them changed."""
    rng = random.Random(seed)
    words = rng.sample(range(1_000, vocabulary - 1_000), 300)
    lines = [rng.choices(words, k=WORDS_IN_LINE) for _ in range(LINES)]
    changed = [list(line) for line in lines]
    changed[rng.randrange(20, LINES - 20)] = rng.choices(words, k=WORDS_IN_LINE + 2)
    return list(chain(*lines)), list(chain(*changed))


def never_again(seed: int, vocabulary: int) -> tuple[list[int], list[int]]:
    """Tokens of which none comes twice."""
    edge = min(1_000, vocabulary // 8)  # bytes and special tokens
    tokens = random.Random(seed).sample(range(edge, vocabulary - edge), 512 + 256)
    return tokens[:512], tokens[512:]


TEXTS: dict[str, Callable[[int, int], tuple[list[int], list[int]]]] = {
    "rewriting 200 lines": rewriting,
    "nothing repeats": never_again,
}
GOALS = {"rewriting 200 lines": 2.0, "nothing repeats": 0.97}


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Alternating runs.")] = 3,
    threads: Annotated[int, typer.Option(help="Threads that compute.")] = 2,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure answers with and without guessing ahead."""
    if model is None:
        shape = SHAPES[ShapeName.QWEN3_0_6B]
        model = default_path(shape, WeightType.Q4_K_M, 0)
        if not model.exists():
            make_model(model, shape, WeightType.Q4_K_M, 0)
    bench = Bench(model, threads)
    found: dict[str, dict[bool, list[Run]]] = {}
    for name, text in TEXTS.items():
        found[name] = {False: [], True: []}
        for number in range(runs):
            prompt, answer = text(number, bench.runner.vocabulary.size)
            for guess in (False, True) if number % 2 else (True, False):
                found[name][guess].append(bench.run(prompt, answer, guess=guess))
    if json_output:
        document = {
            name: {str(k).lower(): [asdict(r) for r in v] for k, v in each.items()}
            for name, each in found.items()
        }
        print(json.dumps(document, indent=2))
        return
    table = Table("answer", "plain tok/s", "guessing tok/s", "tokens a step", "ratio", "goal")
    for name, each in found.items():
        plain, ahead = (median(run.rate for run in each[guess]) for guess in (False, True))
        stride = median((run.tokens - 1) / run.steps for run in each[True])
        goal = GOALS[name]
        verdict = "met" if ahead / plain >= goal else "missed"
        table.add_row(
            name,
            f"{plain:.1f}",
            f"{ahead:.1f}",
            f"{stride:.1f}",
            f"{ahead / plain:.2f}",
            f"≥ {goal} {verdict}",
        )
    show(table)


if __name__ == "__main__":
    typer.run(main)
