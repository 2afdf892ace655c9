"""Is the speed that `fit` predicts the speed that `up` has? Before and after calibration.

Run as `python -m benchmarks.speed_prediction`. In each round, for each quantization, the machine is
measured anew, the speed predicted, and then a server of its own asked for one answer, after a short
one: whatever else the machine does meets both. The server learns from that answer as it always
does, in a home of its own, and the next round's 'after' is what those lessons make of the
prediction.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx2
import psutil
import typer
from rich.console import Console

from benchmarks.client import BenchmarkFailed
from benchmarks.machine import busy_share, read_commit, read_machine, read_version
from benchmarks.make_model import WeightType, default_path
from benchmarks.prediction_report import (
    Report,
    Sample,
    Times,
    render_json,
    render_log_entry,
    render_table,
)
from benchmarks.report import append_log_entry
from benchmarks.servers import Settings as ServerSettings
from benchmarks.servers import localserve
from benchmarks.shapes import SHAPES, ShapeName
from localserve.catalog.headers import read_local
from localserve.config import Settings, read_settings
from localserve.planner.bandwidth import measure_bandwidth
from localserve.planner.forecast import Forecast
from localserve.planner.gauge import by_formula
from localserve.planner.hardware import probe
from localserve.planner.learned import lessons
from localserve.planner.machine import machine_of
from localserve.planner.plan import Wanted, make_plan

LOG = Path(__file__).with_name("LOG.md")
IDLE_SECONDS = 2.0
ANSWER_SECONDS = 900.0
ORDINARY_TOKENS = 1_500
"""Ids below this are words in every shape's vocabulary."""

FIRST_TOKENS = 16
"""Of a prompt and an answer before those that are measured."""

PARALLEL = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of each model, in tokens."""

    prompt: int
    answer: int

    @property
    def context(self) -> int:
        return -(-(self.prompt + self.answer + 1) // 1024) * 1024

    @property
    def halfway(self) -> int:
        """Tokens before the answer's middle one."""
        return self.prompt + self.answer // 2


def main(
    shape: Annotated[ShapeName, typer.Option(help="The sizes of the random models.")] = (
        ShapeName.QWEN3_0_6B
    ),
    weight_type: Annotated[
        list[WeightType] | None, typer.Option("--type", help="Default: Q4_K_M, Q8_0 and F16.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Of all quantizations.")] = 5,
    prompt: Annotated[int, typer.Option(min=128, help="Tokens of the prompt.")] = 512,
    answer: Annotated[int, typer.Option(min=32, help="Tokens of the answer.")] = 64,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Predicted and measured speed over several quantizations; some minutes on an idle machine."""
    console = Console(stderr=True)
    types = weight_type or [WeightType.Q4_K_M, WeightType.Q8_0, WeightType.F16]
    models = {str(one): _model(shape, one) for one in types}
    count = threads or psutil.cpu_count(logical=False) or 1
    asked = Asked(prompt, answer)
    with tempfile.TemporaryDirectory(prefix="localserve-speed-") as home:
        os.environ["LOCALSERVE_HOME"] = home  # of the servers too
        settings = read_settings({"threads": count}, os.environ)
        try:
            samples = _measure(models, rounds, asked, settings, Path(home), console)
        except (BenchmarkFailed, httpx2.HTTPError) as failure:
            console.print(f"error: {failure}", style="red", highlight=False, markup=False)
            raise typer.Exit(1) from failure
    report = Report(
        when=datetime.now(UTC),
        machine=read_machine(),
        versions={
            "localserve": f"{read_version('localserve')} ({read_commit()})",
            "llama-cpp-python": read_version("llama-cpp-python"),
        },
        settings={
            "shape": str(shape),
            "threads": str(count),
            "rounds": str(rounds),
            "prompt": f"{prompt} tokens",
            "answer": f"{answer} tokens",
        },
        samples=tuple(samples),
    )
    _tell(report, console, json_output, log)


def _tell(report: Report, console: Console, json_output: bool, log: str | None) -> None:
    tables = Console(stderr=json_output)
    tables.width = max(tables.width, 140)
    tables.print(render_table(report))
    for note in report.notes:
        console.print(note, style="yellow", highlight=False, markup=False)
    if json_output:
        print(render_json(report))
    if log is not None:
        append_log_entry(LOG, render_log_entry(report, log))
        console.print(f"added to {LOG}")


def _measure(
    models: dict[str, Path],
    rounds: int,
    asked: Asked,
    settings: Settings,
    home: Path,
    console: Console,
) -> list[Sample]:
    samples = []
    for number in range(rounds):
        # The order is turned round each time, so a drift of the machine meets all alike.
        names: Sequence[str] = list(models) if number % 2 == 0 else list(reversed(models))
        for name in names:
            with console.status(f"round {number + 1} of {rounds}: {name}"):
                busy = busy_share(IDLE_SECONDS)
                before, after = _predict(models[name], asked, settings)
                measured = _run(models[name], asked, settings, home, seed=number)
            samples.append(Sample(name, number, busy, before, measured, after))
            console.print(
                f"round {number + 1}, {name}: decode {1 / measured.token:.1f} tok/s (predicted"
                f" {1 / before.token:.1f}), first token {measured.first:.2f} s (predicted"
                f" {before.first:.2f}); {busy:.0%} busy before",
                highlight=False,
            )
    return samples


def _predict(path: Path, asked: Asked, settings: Settings) -> tuple[Times, Times | None]:
    """What is to be expected by the measured rates alone, and with what was learned so far.

    Raises: BenchmarkFailed, where the machine cannot be measured.
    """
    hardware = probe(settings)
    bandwidth = measure_bandwidth(hardware, settings, refresh=True)
    machine = machine_of(hardware, bandwidth)
    facts = read_local(path).facts
    known = partial(lessons(settings).correct, machine.key)
    wanted = Wanted(context_tokens=asked.context, parallel=PARALLEL)
    measure = by_formula(facts, machine.gpu_names)
    plan = make_plan(facts, wanted, machine, measure, correct=known)
    forecast = Forecast(facts, plan.runtime, machine)
    token = forecast.token_seconds(asked.halfway)
    first = forecast.prompt_seconds(asked.prompt)
    if token is None or first is None:
        raise BenchmarkFailed("; ".join(bandwidth.problems) or "no rate was measured")
    corrections = plan.corrections
    after = Times(token * corrections.decode, first * corrections.prompt)
    return Times(token, first), after if corrections.answers else None


def _run(path: Path, asked: Asked, settings: Settings, home: Path, seed: int) -> Times:
    """The times of one answer of a fresh server, by its engine's clock."""
    assert settings.threads is not None
    options = ServerSettings(path, asked.context, PARALLEL, settings.threads)
    ids = random.Random(seed).choices(range(ORDINARY_TOKENS), k=asked.prompt)
    body = {"model": path.stem, "prompt": ids, "max_tokens": asked.answer, "temperature": 0}
    with localserve(options, sys.executable, home) as server:
        body["model"] = server.model
        url = f"{server.url}/v1/completions"
        # The first steps of a process also wait for its memory's first touch.
        first = {**body, "prompt": ids[:FIRST_TOKENS][::-1], "max_tokens": FIRST_TOKENS}
        httpx2.post(url, json=first, timeout=ANSWER_SECONDS, trust_env=False).raise_for_status()
        answer = httpx2.post(url, json=body, timeout=ANSWER_SECONDS, trust_env=False)
        answer.raise_for_status()
        timings = answer.json()["timings"]
    if timings["prompt_n"] != asked.prompt or timings["predicted_n"] != asked.answer:
        raise BenchmarkFailed(
            f"{path.name}: {timings['prompt_n']} tokens of prompt and {timings['predicted_n']} of"
            f" answer were computed instead of {asked.prompt} and {asked.answer}"
        )
    tokens = timings["predicted_n"] - 1
    return Times(timings["predicted_ms"] / tokens / 1e3, timings["prompt_ms"] / 1e3)


def _model(shape: ShapeName, weight_type: WeightType) -> Path:
    """The random model of the cache folder, made by a child if it is not there."""
    path = default_path(SHAPES[shape], weight_type)
    if not path.exists():
        command = [sys.executable, "-m", "benchmarks.make_model", str(path)]
        command += ["--shape", shape, "--type", weight_type]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path


if __name__ == "__main__":
    typer.run(main)
