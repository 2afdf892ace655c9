"""Starts what is compared, lets the runs alternate, and collects the figures.

The raw loop takes its turn with a single stream and with a shared prefix. Knows nothing of tables
and options.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks import INSTALL, servers
from benchmarks.client import BenchmarkFailed
from benchmarks.machine import busy_share, read_commit, read_machine, read_version
from benchmarks.report import Results
from benchmarks.scenarios import (
    ENGINE_DECODE,
    SHARED_DONE,
    SHARED_FIRST_TOKENS,
    Figure,
    Measured,
    Prompts,
    Scenario,
    SharedPrefix,
    SingleStream,
)
from benchmarks.servers import OURS, Process, RawLoop, Server, Settings, idle_share, settle

_WARM_UP_WORDS = 700  # a server that learns how quick prompts are needs a long one
_LOUD_SHARE = 0.03
_BUSY_SHARE = 0.10
# A chat template's own words may be cached; more than this was another run's prompt.
_MOST_CACHED_TOKENS = 32
_FEATURES = "from llama_cpp import llama_cpp as l; print(l.llama_print_system_info().decode())"
_PEER_FEATURES = "import xllamacpp as x; print(x.__version__, x.get_system_info(), sep='\\n')"


@dataclass(frozen=True, slots=True)
class Peers:
    """Whom to measure besides the raw loop; None leaves a peer out.

    `url` is that of a localserve which runs already, None to start one.
    """

    url: str | None
    xllamacpp_python: str | None
    llama_server: str | None
    example_server: Path | None = None


def measure(
    settings: Settings,
    peers: Peers,
    scenarios: Sequence[Scenario],
    runs: int,
    seed: int,
    console: Console,
) -> Results:
    """Run each scenario `runs` times against each server in turn.

    Raises: BenchmarkFailed when a server does not start, refuses, or answers less than asked for.
    """
    samples: dict[Figure, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    notes: list[str] = []
    versions = _versions(peers, notes)
    if (busy := busy_share(2.0)) > _BUSY_SHARE:
        notes.append(
            f"the machine was {busy:.0%} busy before anything was started: threads that wait for"
            " one another by spinning suffer from that by chance, so the figures mean little"
        )
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="localserve-bench-")))
        task = progress.add_task("starting", total=len(scenarios) * runs)
        up = _start_servers(stack, settings, peers, logs)
        raw = stack.enter_context(servers.raw_loop(settings, sys.executable, logs))
        warm_up = SingleStream(words=min(_WARM_UP_WORDS, settings.context // 2), tokens=16)
        for server in up:
            _run(warm_up, server, Prompts(seed, "warm-up", 0))
        raw.tokens_per_second("warming up", 16)
        idle = _measure_idle([*up, raw], notes)
        for scenario in scenarios:
            progress.update(task, description=scenario.describe())
            turns: list[Server | RawLoop] = [*up]
            if isinstance(scenario, SingleStream) or _floor(scenario, settings, notes):
                turns.append(raw)
            for run in range(runs):
                for turn in turns if run % 2 == 0 else reversed(turns):
                    prompts = Prompts(seed, scenario.name, run)
                    for figure, value in _take_turn(scenario, turn, prompts, notes).items():
                        samples[figure][turn.name].append(value)
                progress.advance(task)
    return Results(
        when=datetime.now(UTC),
        machine=read_machine(),
        versions=versions,
        settings=_described(settings, scenarios, runs, seed),
        samples=samples,
        idle=idle,
        notes=tuple(dict.fromkeys(notes)),
    )


def _start_servers(stack: ExitStack, settings: Settings, peers: Peers, logs: Path) -> list[Server]:
    if peers.url is None:
        up = [stack.enter_context(servers.localserve(settings, sys.executable, logs))]
    else:
        up = [servers.running(peers.url)]
    if peers.xllamacpp_python:
        python = peers.xllamacpp_python
        up.append(stack.enter_context(servers.xllamacpp(settings, python, logs)))
    if peers.llama_server:
        up.append(stack.enter_context(servers.llama_server(settings, peers.llama_server, logs)))
    if peers.example_server:
        python = peers.xllamacpp_python or sys.executable
        script = peers.example_server
        up.append(stack.enter_context(servers.example_server(settings, script, python, logs)))
    return up


def _take_turn(
    scenario: Scenario, turn: Server | RawLoop, prompts: Prompts, notes: list[str]
) -> dict[Figure, float]:
    settle(turn.process)
    if isinstance(turn, RawLoop):
        if isinstance(scenario, SharedPrefix):
            first, done = turn.shared_seconds(scenario.texts(prompts), scenario.tokens)
            return {SHARED_FIRST_TOKENS: first, SHARED_DONE: done}
        assert isinstance(scenario, SingleStream)
        prompt = prompts.next(scenario.words)
        return {ENGINE_DECODE: turn.tokens_per_second(prompt, scenario.tokens)}
    measured = _run(scenario, turn, prompts)
    if measured.cached_tokens > _MOST_CACHED_TOKENS:
        notes.append(
            f"{turn.name} took {measured.cached_tokens} prompt tokens from its cache: its first"
            " token came sooner than that of a fresh prompt; use another --seed"
        )
    if isinstance(scenario, SingleStream) and ENGINE_DECODE not in measured.figures:
        notes.append(f"{turn.name} reports no timings, so its engine time is not compared")
    settle(turn.process)
    return dict(measured.figures)


def _floor(scenario: Scenario, settings: Settings, notes: list[str]) -> bool:
    """Whether the raw loop can do the scenario, too."""
    if not isinstance(scenario, SharedPrefix):
        return False
    if settings.parallel < scenario.clients:
        notes.append(
            f"the raw loop has no place for {scenario.clients} sequences; use --parallel"
            f" {scenario.clients} to compare {scenario.name!r} with it"
        )
        return False
    return True


def _run(scenario: Scenario, server: Server, prompts: Prompts) -> Measured:
    try:
        return asyncio.run(scenario.run(server, prompts))
    except (BenchmarkFailed, OSError) as failure:
        if server.process is not None:
            server.process.check_alive()
        raise BenchmarkFailed(f"{server.name}, {scenario.describe()}: {failure}") from failure


def _measure_idle(parties: Sequence[Server | RawLoop], notes: list[str]) -> dict[str, float]:
    idle: dict[str, float] = {}
    for party in parties:
        if isinstance(party.process, Process):
            settle(party.process)
            idle[party.name] = share = idle_share(party.process, 1.0)
            if share > _LOUD_SHARE:
                notes.append(
                    f"{party.name} takes {share:.1%} of a core while idle, from all the others:"
                    " the figures are not fair to them"
                )
    return idle


def _versions(peers: Peers, notes: list[str]) -> dict[str, str]:
    """The versions of all that is measured; notes where the builds use different instructions."""
    commit = read_commit()
    versions = {
        OURS: read_version("localserve") + (f" ({commit})" if commit else ""),
        "llama-cpp-python": read_version("llama-cpp-python"),
    }
    if peers.xllamacpp_python:
        version, theirs = _print_lines(peers.xllamacpp_python, _PEER_FEATURES)[-2:]
        versions["xllamacpp"] = version
        (ours,) = _print_lines(sys.executable, _FEATURES)[-1:]
        for ahead, behind, names in (
            ("llama-cpp-python", "xllamacpp", _enabled(ours) - _enabled(theirs)),
            ("xllamacpp", "llama-cpp-python", _enabled(theirs) - _enabled(ours)),
        ):
            if names:
                notes.append(
                    f"{ahead} is built with {', '.join(sorted(names))}, {behind} is not: the"
                    " ratios compare builds as well as servers"
                )
    if peers.llama_server:
        versions["llama-server"] = peers.llama_server
    if peers.example_server:
        versions[servers.EXAMPLE_SERVER] = str(peers.example_server)
    return versions


def _print_lines(python: str, code: str) -> list[str]:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise BenchmarkFailed(
            f"{python} cannot say what it has: {last}. {INSTALL}; or name the Python that has"
            " xllamacpp with --peer-python, or leave it out by --no-xllamacpp"
        )
    return done.stdout.strip().splitlines()


def _enabled(features: str) -> set[str]:
    """The names set to 1 in llama.cpp's line of features."""
    parts = features.replace(":", "|").split("|")
    return {name.strip() for part in parts if part.strip().endswith("= 1") for name in [part[:-4]]}


def _described(
    settings: Settings, scenarios: Sequence[Scenario], runs: int, seed: int
) -> dict[str, str]:
    size_mb = settings.model.stat().st_size / 1e6
    return {
        "file": f"{settings.model.name} ({size_mb:.1f} MB)",
        "threads": str(settings.threads),
        "context": str(settings.context),
        "parallel": str(settings.parallel),
        "runs": str(runs),
        "seed": str(seed),
        **{scenario.name: f"({scenario.describe()})" for scenario in scenarios},
    }
