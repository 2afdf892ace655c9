"""Starts and stops what is measured, each as a process of its own on a loopback port.

All servers stay up while the runs alternate between them, so `settle` waits until a server has gone
quiet and `idle_share` shows that one which waits takes nothing from the others. Knows nothing of
scenarios.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.client import BenchmarkFailed

OURS = "localserve"
RAW_LOOP = "raw loop"
EXAMPLE_SERVER = "example server"
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_SETTLE_SECONDS = 30.0
_QUIET_SHARE = 0.03
# The environment may name a proxy, which a loopback address must not go through.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Settings:
    """What all servers have in common: the file, the pool of cells, sequences and threads."""

    model: Path
    context: int
    parallel: int
    threads: int

    def arguments(self) -> list[str]:
        """As localserve, the raw loop and the runner of xllamacpp spell them."""
        sizes = {"--ctx": self.context, "--parallel": self.parallel, "--threads": self.threads}
        return [str(self.model), *(part for flag, n in sizes.items() for part in (flag, str(n)))]


class Process:
    """A child and its children. Their processor time is counted together."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        pipes: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._pipes = pipes
        self._environ = {**os.environ, **(environ or {})}
        self.start()

    def start(self) -> None:
        """Start the child, again where it has been stopped."""
        pipe = subprocess.PIPE if self._pipes else subprocess.DEVNULL
        with self._log.open("ab") as file:
            self.child = subprocess.Popen(
                self._command,
                stdin=pipe,
                stdout=pipe if self._pipes else file,
                stderr=file,
                env=self._environ,
                text=True,
            )

    def check_alive(self) -> None:
        if (status := self.child.poll()) is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])
            raise BenchmarkFailed(f"{self.name} ended with status {status}; its log ends:\n{tail}")

    def cpu_seconds(self) -> float:
        total = 0.0
        for process in self._tree():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def stop(self) -> None:
        """Ask it to end, and kill it and its children if it does not within 15 seconds."""
        tree = self._tree()
        self.child.terminate()
        try:
            self.child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for process in tree:
            if process.is_running() and process.pid != self.child.pid:
                process.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()

    def _tree(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.child.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. `process` is None for one that was running already. It is ready when
    `ready_path` answers."""

    name: str
    url: str
    model: str
    process: Process | None
    ready_path: str = "/health"


def restart(server: Server) -> None:
    """Stop a server, start it again and wait until it is ready.

    Raises: BenchmarkFailed, where it does not come back or was not started here.
    """
    if server.process is None:
        raise BenchmarkFailed(f"{server.name} was not started here; leave out --url to restart it")
    server.process.stop()
    server.process.start()
    _wait_until_ready(server.process, server.url + server.ready_path)


def settle(process: Process | None) -> None:
    """Wait until a server has gone quiet, at most 30 seconds; a second for one not started here."""
    if process is None:
        time.sleep(1.0)
        return
    deadline = time.monotonic() + _SETTLE_SECONDS
    while idle_share(process, 0.25) > _QUIET_SHARE and time.monotonic() < deadline:
        pass


def idle_share(process: Process, seconds: float) -> float:
    """The share of one core that a process takes while nothing is asked of it."""
    before = process.cpu_seconds()
    time.sleep(seconds)
    return (process.cpu_seconds() - before) / seconds


@contextmanager
def localserve(
    settings: Settings,
    python: str,
    logs: Path,
    *,
    step_budget_ms: float | None = None,
    options: Sequence[str] = (),
) -> Iterator[Server]:
    """Start localserve from the Python that has it, with more `options` of `up`. Its prefixes on
    disk end with `logs`."""
    port = _free_port()
    place = ["--host", "127.0.0.1", "--port", str(port)]
    command = [python, "-m", "localserve", "up", *settings.arguments(), *place, *options]
    environ = {"LOCALSERVE_PREFIXES_DIR": str(logs / "prefixes")}
    if step_budget_ms is not None:
        environ["LOCALSERVE_STEP_BUDGET_MS"] = str(step_budget_ms)
    with _started(OURS, command, port, "/health/ready", logs, environ) as server:
        yield server


@contextmanager
def xllamacpp(
    settings: Settings, python: str, logs: Path, *, batch: int | None = None
) -> Iterator[Server]:
    """Start xllamacpp's HTTP server in the Python that has it, with its own `-b` and `-ub` or both
    of `batch` tokens."""
    port = _free_port()
    script = str(Path(__file__).with_name("xllamacpp_server.py"))
    command = [python, script, *settings.arguments(), "--port", str(port)]
    if batch is not None:
        command += ["--batch", str(batch)]
    with _started("xllamacpp", command, port, "/health", logs) as server:
        yield server


@contextmanager
def llama_server(settings: Settings, binary: str, logs: Path) -> Iterator[Server]:
    """Start a llama-server program, for instance one built for this very machine."""
    port = _free_port()
    options = {
        "-m": settings.model,
        "--host": "127.0.0.1",
        "--port": port,
        "-c": settings.context,
        "-np": settings.parallel,
        "-t": settings.threads,
    }
    flags = [str(part) for pair in options.items() for part in pair]
    command = [binary, *flags, "--kv-unified"]
    with _started("llama-server", command, port, "/health", logs) as server:
        yield server


@contextmanager
def example_server(settings: Settings, script: Path, python: str, logs: Path) -> Iterator[Server]:
    """Start the server that llama-cpp-python has among its examples, with a template of ChatML."""
    port = _free_port()
    document = {
        "server": {"host": "127.0.0.1", "port": port},
        "model": {
            "path": str(settings.model),
            "alias": settings.model.stem,
            "n_ctx": settings.context,
            "n_seq_max": settings.parallel,
            "threads": settings.threads,
            "threads_batch": settings.threads,
            "kv_unified": True,
            "chat_template": _CHATML,
        },
    }
    file = logs / "example-server.json"
    file.write_text(json.dumps(document))
    command = [python, str(script), "--config-file", str(file)]
    with _started(EXAMPLE_SERVER, command, port, "/v1/models", logs) as server:
        yield server


def served_model(server: Server) -> dict[str, Any]:
    """What a localserve says of the model that it serves: memory, budget and so on."""
    with _DIRECT.open(f"{server.url}/admin/models", timeout=10) as response:
        models = json.load(response)["models"]
    return next(one for one in models if one["id"] == server.model)


def step_budget_ms(server: Server) -> float:
    """The longest step of a localserve while answers run, as it says."""
    return float(served_model(server)["step_budget_ms"])


def running(url: str) -> Server:
    """A localserve that runs already.

    Raises: BenchmarkFailed when it does not answer.
    """
    url = url.rstrip("/")
    if not _answers(f"{url}/v1/models"):
        raise BenchmarkFailed(f"nothing that is ready answers at {url}/v1/models")
    return Server(OURS, url, _model_name(url), process=None)


class RawLoop:
    """The limit line in a child process that sleeps between its runs."""

    name = RAW_LOOP

    def __init__(self, process: Process) -> None:
        self.process = process
        self._read()

    def tokens_per_second(self, prompt: str, tokens: int) -> float:
        """The rate after the first of `tokens` tokens; the prompt is wrapped in ChatML."""
        answer = self._ask({"prompt": _chatml(prompt), "tokens": tokens})
        return (answer["predicted_n"] - 1) / answer["predicted_ms"] * 1e3

    def shared_seconds(self, prompts: list[str], tokens: int) -> tuple[float, float]:
        """Until all answers have their first token, and until all are done; each prompt is wrapped
        in ChatML, and what all begin with is computed once."""
        answer = self._ask({"prompts": [*map(_chatml, prompts)], "tokens": tokens})
        return answer["prompt_ms"] / 1e3, (answer["prompt_ms"] + answer["predicted_ms"]) / 1e3

    def _ask(self, question: dict[str, object]) -> dict[str, float]:
        assert self.process.child.stdin is not None
        self.process.child.stdin.write(json.dumps(question) + "\n")
        self.process.child.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.child.stdout is not None
        line = self.process.child.stdout.readline()
        if not line:
            self.process.child.wait()
            self.process.check_alive()
        found: dict[str, float] = json.loads(line)
        return found


def _chatml(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


@contextmanager
def raw_loop(settings: Settings, python: str, logs: Path) -> Iterator[RawLoop]:
    """Start the raw loop in the Python that localserve runs in."""
    command = [python, "-m", "benchmarks.raw_loop", *settings.arguments()]
    process = Process(RAW_LOOP, command, logs / "raw-loop.log", pipes=True)
    try:
        yield RawLoop(process)
    finally:
        process.stop()


@contextmanager
def _started(
    name: str,
    command: list[str],
    port: int,
    ready_path: str,
    logs: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    process = Process(name, command, logs / f"{name}.log", environ=environ)
    try:
        _wait_until_ready(process, url + ready_path)
        yield Server(name, url, _model_name(url), process, ready_path)
    finally:
        process.stop()


def _wait_until_ready(process: Process, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        process.check_alive()
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{process.name} was not ready within {_START_SECONDS:.0f} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _model_name(url: str) -> str:
    with _DIRECT.open(f"{url}/v1/models", timeout=10) as response:
        return str(json.load(response)["data"][0]["id"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
