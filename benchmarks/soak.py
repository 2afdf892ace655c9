"""Random switches among models that do not all fit: memory is kept, and no request is lost.

Run as `python -m benchmarks.soak`. Several clients ask a server of its own for one random model
after another; the worker's resident memory is read at each answer. A 503 with Retry-After is asked
again, as clients do; anything else but an answer is a lost request.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx2
import psutil
import typer

from benchmarks.make_model import WeightType, make_model
from benchmarks.shapes import Shape

MODELS = 4
HELD = 2
REQUEST_SECONDS = 300.0
MOST_RETRIES = 50
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Switch:
    """One answer: what it was asked of, what it took, and the memory then."""

    number: int
    model: str
    seconds: float
    retries: int
    resident_bytes: int
    held_bytes: int


@dataclass(slots=True)
class Result:
    """What came of a soak. `lost` says in words what went wrong with each request that was lost.

    `baseline_bytes` and `end_bytes` are resident with no model loaded.
    """

    baseline_bytes: int
    budget_bytes: int
    switches: list[Switch] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    retried: int = 0
    end_bytes: int = 0

    @property
    def most_resident_bytes(self) -> int:
        return max((switch.resident_bytes for switch in self.switches), default=0)

    @property
    def most_held_bytes(self) -> int:
        return max((switch.held_bytes for switch in self.switches), default=0)

    @property
    def overrun_bytes(self) -> int:
        """What the process had at its worst beyond what it had without a model and the budget."""
        return self.most_resident_bytes - self.baseline_bytes - self.budget_bytes


def soak(
    url: str, models: list[str], budget_bytes: int, *, switches: int, clients: int, seed: int = 0
) -> Result:
    """Ask the server at `url` for random models until so many answers came.

    The first one is loaded and unloaded before, for the baseline; all are unloaded at the end.
    """
    with httpx2.Client(base_url=url, timeout=REQUEST_SECONDS, trust_env=False) as client:
        client.post(f"/admin/models/{models[0]}/load").raise_for_status()
        client.post(f"/admin/models/{models[0]}/unload").raise_for_status()
        worker = psutil.Process(client.get("/admin/models").json()["pid"])
        result = Result(worker.memory_info().rss, budget_bytes)
        _Soak(client, worker, models, switches, result).run(clients, seed)
        for model in models:
            client.post(f"/admin/models/{model}/unload").raise_for_status()
        result.end_bytes = worker.memory_info().rss
    return result


class _Soak:
    def __init__(
        self,
        client: httpx2.Client,
        worker: psutil.Process,
        models: list[str],
        switches: int,
        result: Result,
    ) -> None:
        self._client = client
        self._worker = worker
        self._models = models
        self._left = switches
        self._result = result
        self._lock = threading.Lock()

    def run(self, clients: int, seed: int) -> None:
        threads = [
            threading.Thread(target=self._ask_on, args=(random.Random(seed + number),))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask_on(self, dice: random.Random) -> None:
        last = ""
        while self._take():
            last = dice.choice([model for model in self._models if model != last])
            try:
                self._ask(last, dice.randint(1, 24))
            except (httpx2.HTTPError, psutil.Error, ValueError) as error:
                with self._lock:
                    self._result.lost.append(f"{last}: {error!r}")

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _ask(self, model: str, tokens: int) -> None:
        began = time.monotonic()
        body = {"model": model, "prompt": "once upon", "max_tokens": tokens, "stream": True}
        answer, retries = self._client.post("/v1/completions", json=body), 0
        while answer.status_code == 503 and retries < MOST_RETRIES:
            time.sleep(min(float(answer.headers["retry-after"]), 2.0))
            answer, retries = self._client.post("/v1/completions", json=body), retries + 1
        held = sum(
            device["held_bytes"] for device in self._client.get("/admin/models").json()["memory"]
        )
        with self._lock:
            result = self._result
            result.retried += retries
            if answer.status_code != 200 or not answer.text.endswith("data: [DONE]\n\n"):
                result.lost.append(f"{model}: {answer.status_code} {answer.text[-200:]}")
                return
            seconds = time.monotonic() - began
            resident = self._worker.memory_info().rss
            number = len(result.switches) + 1
            result.switches.append(Switch(number, model, seconds, retries, resident, held))


def write_models(folder: Path, layers: int) -> list[Path]:
    """Four random models of the same shape."""
    paths = [folder / f"soak-{number}.gguf" for number in range(MODELS)]
    for seed, path in enumerate(paths):
        if not path.exists():
            shape = Shape("soak", layers, 1024, 2816, 16, 4, 64, vocabulary=2_048)
            make_model(path, shape, WeightType.F16, seed)
    return paths


def main(
    switches: Annotated[int, typer.Option(min=1)] = 200,
    clients: Annotated[int, typer.Option(min=1)] = 2,
    layers: Annotated[int, typer.Option(min=1, help="About 22 MB of weights each.")] = 4,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="Every switch, as JSON.")] = None,
) -> None:
    """Random switches among four models with memory for two."""
    with tempfile.TemporaryDirectory() as home:
        models = write_models(Path(home), layers)
        config = Path(home) / "models.toml"
        config.write_text(
            "".join(
                f'[models.{path.stem}]\nfile = "{path.name}"\ncontext = 2048\nparallel = 2\n'
                for path in models
            )
        )
        result = _soak_own_server(Path(home), config, models, switches, clients, seed)
    if out is not None:
        out.write_text(json.dumps(asdict(result), indent=1))
    _print(result)
    if result.lost or result.overrun_bytes > 0:
        raise typer.Exit(1)


def _soak_own_server(
    home: Path, config: Path, models: list[Path], switches: int, clients: int, seed: int
) -> Result:
    """Learn what one model takes, then soak a server that may take two and a bit."""
    names = [path.stem for path in models]
    first = _Server(home, config, names[0], None)
    try:
        one_bytes = first.get("/admin/models")["memory"][0]["held_bytes"]
    finally:
        first.stop()
    budget = HELD * one_bytes + one_bytes // 2
    server = _Server(home, config, names[0], budget)
    try:
        return soak(server.url, names, budget, switches=switches, clients=clients, seed=seed)
    finally:
        server.stop()


class _Server:
    """A `localserve up` of its own."""

    def __init__(self, home: Path, config: Path, model: str, budget_bytes: int | None) -> None:
        environment = {**os.environ, "LOCALSERVE_HOME": str(home)}
        if budget_bytes is not None:
            environment["LOCALSERVE_MODEL_RAM_BYTES"] = str(budget_bytes)
        command = [sys.executable, "-m", "localserve"]
        self._status = [*command, "status", "--json"]
        self._environment = environment
        self._process = subprocess.Popen(
            [*command, "up", model, "--config", str(config), "--port", "0", "--threads", "1"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = self._wait()

    def get(self, path: str) -> Any:
        return httpx2.get(self.url + path, timeout=30, trust_env=False).json()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def _wait(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            done = subprocess.run(
                self._status, env=self._environment, capture_output=True, text=True, check=False
            )
            for server in json.loads(done.stdout)["servers"]:
                if any(model["state"] == "loaded" for model in server["models"]):
                    return str(server["url"])
        self.stop()
        raise RuntimeError("the server did not get ready")


def _print(result: Result) -> None:
    counts = Counter(switch.model for switch in result.switches)
    seconds = sorted(switch.seconds for switch in result.switches)
    typer.echo(f"answers        {len(result.switches)} ({dict(sorted(counts.items()))})")
    typer.echo(f"lost           {len(result.lost)}  {result.lost[:3] or ''}")
    typer.echo(f"asked again    {result.retried} (503 with Retry-After)")
    typer.echo(f"budget         {result.budget_bytes / MIB:.0f} MiB")
    typer.echo(f"without models {result.baseline_bytes / MIB:.0f} MiB resident")
    typer.echo(
        f"most           {result.most_resident_bytes / MIB:.0f} MiB resident,"
        f" {result.most_held_bytes / MIB:.0f} MiB in the ledger"
    )
    typer.echo(f"at the end     {result.end_bytes / MIB:.0f} MiB resident, all unloaded")
    typer.echo(f"overrun        {result.overrun_bytes / MIB:+.0f} MiB (below zero: none)")
    if seconds:
        typer.echo(f"longest answer {seconds[-1]:.1f} s, median {seconds[len(seconds) // 2]:.1f} s")


if __name__ == "__main__":
    typer.run(main)
