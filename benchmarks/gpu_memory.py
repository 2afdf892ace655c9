"""What a plan says that a model takes of a GPU, beside what NVIDIA's driver then says.

Run as `python -m benchmarks.gpu_memory MODEL...` where nothing else uses the GPU. Each model is
planned by `localserve fit`, served with the same options, and made to work; in between, the driver
is asked how much memory is in use. What the driver counts beyond the plan is the process's context,
kernels and pools, for which plans leave a margin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import httpx2
import psutil
import pynvml
import typer
from rich.console import Console

from benchmarks.client import BenchmarkFailed
from benchmarks.servers import Server, Settings, localserve, served_model
from benchmarks.tables import Findings, Section, show
from localserve.catalog.headers import read_local
from localserve.planner.machine import GPU_MARGIN_BYTES
from localserve.planner.nvml import DriverGpu, read_nvml
from localserve.planner.usage import RAM, from_document

MIB = 1 << 20
WORK_SECONDS = 300.0
PROMPT_TOKENS, ANSWER_TOKENS = 1_500, 64
ORDINARY_TOKENS = 1_500
"""Ids below this are words in every shape's vocabulary."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model with one set of options, in bytes of GPU memory.

    `planned` is llama.cpp's own count before loading, `counted` the same afterwards, `loaded` and
    `worked` what the driver says more than before the start.
    """

    model: str
    options: str
    planned: int
    counted: int
    loaded: int
    worked: int

    @property
    def beyond(self) -> int:
        """What the plan did not count."""
        return self.worked - self.planned


def cases(model: Path) -> list[tuple[str, ...]]:
    """Options of `fit` and `up` alike: all on the GPU, a longer context, a coarser cache, half of
    the layers."""
    layers = read_local(model).facts.hyperparameters.layers
    return [
        ("--ctx", "8192"),
        ("--ctx", "32768"),
        ("--ctx", "32768", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0"),
        ("--ctx", "8192", "--gpu-layers", str(layers // 2)),
    ]


def main(
    models: Annotated[list[Path], typer.Argument(exists=True, help="GGUF files.")],
    parallel: Annotated[int, typer.Option(help="Sequences, all of which answer.")] = 8,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Compare plans with what NVIDIA's driver counts.

    For example: python -m benchmarks.gpu_memory some.gguf --log "a newer driver"
    """
    console = Console(stderr=True)
    gpu = _gpu()
    if gpu is None:
        console.print("error: NVIDIA's driver tells of no GPU", style="red", highlight=False)
        raise typer.Exit(1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="localserve-gpu-") as home:
        os.environ["LOCALSERVE_HOME"] = home  # of the servers too
        for model in models:
            for options in cases(model):
                with console.status(f"{model.name} {' '.join(options)}"):
                    rows.append(compare(model, options, parallel, Path(home)))
    findings = Findings(
        settings={"GPU": gpu.name, "sequences": str(parallel)},
        sections=(section(rows),),
        samples=[asdict(row) for row in rows],
    )
    show(findings, json_output=json_output, log=log)
    if any(row.beyond > GPU_MARGIN_BYTES for row in rows):
        console.print("error: a model took more than was planned and left free", style="red")
        raise typer.Exit(1)


def compare(model: Path, options: Sequence[str], parallel: int, home: Path) -> Row:
    """Plan, serve, work, and ask the driver before and after.

    Raises: BenchmarkFailed, where the model cannot be planned or served.
    """
    planned = _plan(model, [*options, "--parallel", str(parallel)])
    before = _used_bytes()
    context = int(options[options.index("--ctx") + 1])
    settings = Settings(model, context, parallel, psutil.cpu_count(logical=False) or 1)
    with localserve(settings, sys.executable, home, options=options) as server:
        loaded = _used_bytes()
        _work(server, parallel)
        worked = _used_bytes()
        measured = from_document(served_model(server)["measured"])
    counted = sum(one.total_bytes for one in measured.devices if one.device != RAM)
    return Row(model.stem, " ".join(options), planned, counted, loaded - before, worked - before)


def section(rows: Sequence[Row]) -> Section:
    """A line for each comparison, in MiB."""
    headings = ("model", "options", "planned", "counted", "loaded", "worked", "beyond the plan")
    lines = []
    for row in rows:
        sizes = (row.planned, row.counted, row.loaded, row.worked, row.beyond)
        lines.append((row.model, row.options, *(f"{size / MIB:,.0f}" for size in sizes)))
    return Section(headings, tuple(lines), "GPU memory in MiB")


def _plan(model: Path, options: Sequence[str]) -> int:
    command = [sys.executable, "-m", "localserve", "fit", str(model), *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        devices = json.loads(done.stdout)["memory"]["devices"]
        return sum(one["total_bytes"] for one in devices if one["name"] != RAM)
    except (ValueError, TypeError, KeyError):
        said = done.stderr or done.stdout
        raise BenchmarkFailed(f"`{' '.join(command[2:])}` said: {said}") from None


def _work(server: Server, parallel: int) -> None:
    """A long prompt, and as many answers at once as there are sequences."""

    def ask(number: int) -> None:
        prompt = [(number * 7 + index) % ORDINARY_TOKENS for index in range(PROMPT_TOKENS)]
        body = {"prompt": prompt if number == 0 else prompt[:64], "max_tokens": ANSWER_TOKENS}
        httpx2.post(
            f"{server.url}/v1/completions", json=body, timeout=WORK_SECONDS, trust_env=False
        ).raise_for_status()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _gpu() -> DriverGpu | None:
    return next(iter(read_nvml(pynvml, str).gpus), None)


def _used_bytes() -> int:
    gpu = _gpu()
    if gpu is None or gpu.total_bytes is None or gpu.free_bytes is None:
        raise BenchmarkFailed("NVIDIA's driver does not tell what is in use")
    return gpu.total_bytes - gpu.free_bytes


if __name__ == "__main__":
    typer.run(main)
