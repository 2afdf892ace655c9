"""The process that serves: one event loop, the web server, the model manager.

Started by the supervisor as `python -m localserve.server.worker`; gets its arguments through stdin
and tells what happens on stdout. It ends when told to, when its model cannot be loaded, or when its
supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import psutil
import uvicorn

from localserve.backends import local
from localserve.backends.base import Backend
from localserve.catalog.registry import load_registry
from localserve.catalog.spec import ModelSpec
from localserve.errors import EngineFailed, LocalserveError
from localserve.manager import ModelManager, Progress, served_spec
from localserve.server.app import create_app
from localserve.server.records import format_record
from localserve.server.reports import (
    Aborting,
    Answered,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
    Report,
    encode,
)
from localserve.server.supervisor import LOAD_FAILED_STATUS, WorkerArguments

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: the engine thread must not wait for the loop."""

GOODBYE_SECONDS = 1.0
"""How long an abort waits for running streams to be told."""


class Reporter:
    """Writes reports from a thread of its own, so that a stopped terminal stops no answer."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._queue: queue.Queue[Report | None] = queue.Queue(maxsize=10_000)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="reports", daemon=True)
        self._thread.start()

    def report(self, report: Report) -> None:
        try:
            self._queue.put_nowait(report)
        except queue.Full:
            self._lost += 1

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything is written, and write no more."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
            self._thread.join(timeout_seconds)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone: nobody wants to know
            while (report := self._queue.get()) is not None:
                self._out.write(encode(report))
                if self._lost and self._queue.empty():
                    lost, self._lost = self._lost, 0
                    text = f"{lost} lines were lost: the terminal did not take them"
                    self._out.write(encode(Note(logging.WARNING, text)))
                if self._queue.empty():
                    self._out.flush()
            self._out.flush()


class ReportHandler(logging.Handler):
    """Sends log records to the supervisor as notes."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            text = str(record.msg)
        self._reporter.report(Note(record.levelno, text))


class Server(uvicorn.Server):
    """uvicorn's server, which says when it answers."""

    def __init__(self, config: uvicorn.Config, on_live: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_live = on_live

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_live()


class Worker:
    """Everything of one worker process, put together."""

    def __init__(self, arguments: WorkerArguments, reporter: Reporter) -> None:
        self._arguments = arguments
        self._settings = arguments.settings
        self._reporter = reporter
        self._failed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._backend: local.LocalBackend | None = None
        self._server: Server | None = None

    async def serve(self, sockets: list[socket.socket]) -> bool:
        """Serve until told to stop; returns whether all was well."""
        manager = ModelManager(self._arguments.spec, self._load)
        app = create_app(
            manager,
            self._settings,
            reload=lambda: self._reload(manager),
            on_request=lambda record: self._reporter.report(Answered(format_record(record))),
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=max(1, round(self._settings.drain_seconds)),
            timeout_keep_alive=75,
        )
        server = self._server = Server(config, lambda: self._reporter.report(Live()))
        loop = asyncio.get_running_loop()
        _stop_with_supervisor(server, loop)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(
                signal.SIGHUP,
                lambda: self._tasks.add(asyncio.create_task(self._reload_quietly(manager))),
            )
        # uvicorn raises the signal that stopped it once more when it is done.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await server.serve(sockets)
        return not self._failed

    async def _load(self, spec: ModelSpec, progress: Progress) -> Backend:
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def report(share: float) -> None:
            progress(share)
            self._reporter.report(LoadProgress(spec.name, share))

        settings = self._settings
        options = local.LoadOptions(
            context_tokens=settings.context_tokens,
            parallel=settings.parallel,
            threads=settings.threads,
            max_waiting=settings.max_waiting,
            step_budget_seconds=settings.step_budget_ms / 1e3,
            default_max_tokens=settings.default_max_tokens,
        )
        first = self._backend is None
        try:
            backend = await local.load(
                spec, options, report, on_abort=lambda reason: self._say_goodbye(reason, loop)
            )
        except LocalserveError as error:
            if first:  # nothing was ever served: say why, and end
                self._failed = True
                self._reporter.report(LoadFailed(error.message, error.hint))
                assert self._server is not None
                self._server.should_exit = True
            raise
        self._backend = backend
        seconds = time.monotonic() - began
        memory_bytes = psutil.Process().memory_info().rss
        self._reporter.report(Loaded(backend.facts, seconds, memory_bytes))
        return backend

    def _say_goodbye(self, reason: str, loop: asyncio.AbstractEventLoop) -> None:
        """llama.cpp aborts the process when this returns; runs on the thread that failed."""
        self._reporter.report(Aborting(reason))
        told = threading.Event()

        def break_all() -> None:
            if self._backend is not None:
                self._backend.break_all(EngineFailed(f"llama.cpp gave up: {reason}"))
            loop.call_later(GOODBYE_SECONDS / 4, told.set)

        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(break_all)
            told.wait(GOODBYE_SECONDS)
        self._reporter.flush(GOODBYE_SECONDS)

    async def _reload(self, manager: ModelManager) -> None:
        """Read models.toml again. Raises: ConfigInvalid; then all stays as it was."""
        try:
            registry = await asyncio.to_thread(load_registry, self._settings)
        except LocalserveError as error:
            log.error("models.toml stays as it was: %s", error)
            raise
        manager.reconfigure(served_spec(registry, manager.spec))
        log.info("models.toml was read again: %d models", len(registry))

    async def _reload_quietly(self, manager: ModelManager) -> None:
        with contextlib.suppress(LocalserveError):
            await self._reload(manager)


def _stop_with_supervisor(server: uvicorn.Server, loop: asyncio.AbstractEventLoop) -> None:
    """Stop as soon as stdin ends: then nobody holds the other end any more."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        server.should_exit = True

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def main() -> None:
    """The worker process."""
    arguments: WorkerArguments = pickle.load(sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not look like a report
    reporter = Reporter(out)
    level = arguments.settings.log_level.upper()
    logging.basicConfig(level=level, handlers=[ReportHandler(reporter)], format="%(message)s")
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLevelName(level)))
    sys.setswitchinterval(SWITCH_SECONDS)
    sockets = [_take_over(one) for one in arguments.sockets]
    worker = Worker(arguments, reporter)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        well = runner.run(worker.serve(sockets))
    reporter.flush(GOODBYE_SECONDS)
    # Threads of libraries must not hold up the end: everything of ours is freed by now.
    os._exit(0 if well else LOAD_FAILED_STATUS)


def _take_over(handed_over: int | bytes) -> socket.socket:
    if isinstance(handed_over, int):
        return socket.socket(fileno=handed_over)
    return socket.fromshare(handed_over)  # type: ignore[attr-defined,no-any-return,unused-ignore]


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
