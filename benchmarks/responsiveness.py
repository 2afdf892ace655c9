"""How quickly a server under full load still answers: the lag of its event loop, and its health.

Run as `python -m benchmarks.responsiveness`. Streams without a pause and long prompts keep the
engine busy on all cores; meanwhile a thread asks for /health/live at fixed times, and a late answer
counts from when it should have been asked for. The lag inside is what /health/ready tells.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer

from benchmarks import servers
from benchmarks.client import ChatStream
from benchmarks.run import own_model
from benchmarks.scenarios import Prompts
from benchmarks.servers import Server, Settings
from benchmarks.shapes import ShapeName
from benchmarks.tables import Findings, Section, busy_notes, show

STREAMS = 7
LONG_WORDS = 600
PROBE_SECONDS = 0.02
MOST_LAG_MS = 20.0
MOST_LIVE_MS = 50.0
_SWITCH_SECONDS = 0.0005


@dataclass
class Probe:
    """Asks for /health/live at fixed times until it is stopped; `milliseconds` of each answer."""

    url: str
    milliseconds: list[float] = field(default_factory=list)
    failure: Exception | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        due = time.perf_counter()
        try:
            while not self._stopped.is_set():
                connection.request("GET", "/health/live")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    raise OSError(f"/health/live answered {response.status}")
                self.milliseconds.append((time.perf_counter() - due) * 1e3)
                due += PROBE_SECONDS
                time.sleep(max(0.0, due - time.perf_counter()))
        except Exception as failure:  # told by whoever started the thread
            self.failure = failure
        finally:
            connection.close()

    def stop(self) -> None:
        self._stopped.set()


async def load(server: Server, seconds: float, seed: int) -> int:
    """Streams and long prompts for so long; how many tokens came."""
    until = time.perf_counter() + seconds
    tokens = 0

    async def ask_on(number: int, words: int, answer_tokens: int) -> None:
        nonlocal tokens
        prompts = Prompts(seed, f"load {number}", 0)
        while time.perf_counter() < until:
            stream = ChatStream(server.url, server.model, [prompts.next(words)], answer_tokens)
            asking = asyncio.create_task(stream.run())
            done, _ = await asyncio.wait({asking}, timeout=max(0.0, until - time.perf_counter()))
            if not done:
                stream.stop()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                return
            tokens += len(asking.result().arrivals)

    asked = [ask_on(number, 32, 64) for number in range(STREAMS)]
    await asyncio.gather(*asked, ask_on(STREAMS, LONG_WORDS, 4))
    return tokens


def measure(server: Server, seconds: float, seed: int) -> tuple[Probe, dict[str, float], int]:
    """The probe's answers, the lag inside and the tokens that came meanwhile.

    Raises: BenchmarkFailed; what the probe failed with.
    """
    asyncio.run(load(server, min(2.0, seconds), seed + 1))
    probe = Probe(server.url)
    thread = threading.Thread(target=probe.run, name="probe")
    thread.start()
    try:
        tokens = asyncio.run(load(server, seconds, seed))
    finally:
        probe.stop()
        thread.join()
    if probe.failure is not None:
        raise probe.failure
    return probe, _lag(server.url), tokens


def _lag(url: str) -> dict[str, float]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("GET", "/health/ready")
        lag: dict[str, float] = json.loads(connection.getresponse().read())["loop_lag"]
    finally:
        connection.close()
    return lag


def section(probe: Probe, lag: dict[str, float], seconds: float) -> Section:
    """Both as one table."""
    ordered = sorted(probe.milliseconds)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    rows = (
        _row("event loop's lag, inside", lag["p50_ms"], lag["p99_ms"], lag["most_ms"], MOST_LAG_MS),
        _row("/health/live, from outside", p50, p99, ordered[-1], MOST_LIVE_MS),
    )
    title = f"{STREAMS} streams and prompts of {LONG_WORDS} words for {seconds:.0f} s"
    return Section(("figure", "p50 (ms)", "p99 (ms)", "most (ms)", "goal (p99)"), rows, title)


def _row(name: str, p50: float, p99: float, most: float, goal: float) -> tuple[str, ...]:
    verdict = "met" if p99 < goal else "missed"
    return name, f"{p50:.2f}", f"{p99:.2f}", f"{most:.2f}", f"< {goal:.0f} {verdict}"


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Time under load.")] = 30.0,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    seed: Annotated[int, typer.Option(help="Of the prompts.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Measure how responsive the server stays under full load.

    For example: python -m benchmarks.responsiveness --seconds 60 --log "one hand-over a step"
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    settings = Settings(
        model=model or own_model(ShapeName.TINY if quick else ShapeName.QWEN3_0_6B),
        context=8192,
        parallel=8,
        threads=threads or psutil.cpu_count(logical=False) or 1,
    )
    seconds = 2.0 if quick else seconds
    notes = busy_notes()
    with (
        tempfile.TemporaryDirectory(prefix="localserve-responsiveness-") as logs,
        servers.localserve(settings, sys.executable, Path(logs)) as server,
    ):
        probe, lag, tokens = measure(server, seconds, seed)
    findings = Findings(
        settings={
            "file": settings.model.name,
            "threads": str(settings.threads),
            "seconds": f"{seconds:.0f}",
            "tokens that came": str(tokens),
        },
        sections=(section(probe, lag, seconds),),
        samples={"live_ms": probe.milliseconds, "loop_lag": lag},
        notes=notes,
    )
    show(findings, json_output=json_output, log=log)


if __name__ == "__main__":
    typer.run(main)
